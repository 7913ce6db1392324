"""The distribution of an operator's eigenvalues, from quadratures of random vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.linalg._estimate import Band, Estimate, mean_of, standard_error, student_t

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralMeasure:
    """Quadratures (θ, w) with Σ_j w_ij·f(θ_ij) ≈ xᵢᵀf(A)xᵢ/n for random sign vectors xᵢ, whose mean is tr f(A)/n.

    Attributes
    ----------
    n
        Size of the operator.
    nodes
        θ, ascending along each row, [probes, steps]. A probe whose Krylov space ended early has its last node repeated
        with a weight of 0.
    weights
        w, none negative, the rows summing to 1, [probes, steps].
    residuals
        ‖Av − θv‖ of each node's Ritz vector v, with an allowance for rounding, [probes, steps].
    n_products
        How many vectors were multiplied with the operator.
    """

    n: int
    nodes: Floats
    weights: Floats
    residuals: Floats
    n_products: int

    def trace_of(self, function: Callable[[Floats], Floats]) -> Estimate:
        """Return tr f(A) = Σ f(λ), with the scatter over the probes as its standard error.

        For a polynomial of degree below 2·steps each probe's term is exact up to rounding, so that the interval is all
        there is to say. For another f the error of the quadrature comes to it: at most twice the distance from f to
        the nearest such polynomial, per eigenvalue.

        Parameters
        ----------
        function
            f, taking and returning arrays of one shape.

        Examples
        --------
        >>> import torch
        >>> from deepscope.linalg import LinearOperator, lanczos_quadrature
        >>> A = LinearOperator.from_matrix(np.diag(np.arange(1.0, 101.0)))
        >>> measure = lanczos_quadrature(A, n_probes=4, n_steps=10, generator=torch.Generator().manual_seed(0))
        >>> round(measure.trace_of(np.square).value, 6)
        338350.0
        """
        return mean_of(self.n * np.sum(self.weights * function(self.nodes), axis=1))

    @property
    def resolution(self) -> float:
        """Width of the narrowest Gaussian that the quadrature resolves: (θ_max − θ_min)/steps."""
        return float((self.nodes.max() - self.nodes.min()) / self.nodes.shape[1])

    def density(self, grid: Floats, width: float | None = None) -> Band:
        """Return the density of eigenvalues under a Gaussian kernel, Σ_j w_j·N(x; θ_j, width²).

        Its integral is 1. The interval is that of the mean over probes, of the density smoothed in the same way: peaks
        narrower than the width are not seen. With s the width over half the spectrum's range, the error of k-point
        quadrature is about 1.6/(k·s)·exp(−2·k²·s²) times the kernel's peak: 3e-4 for the default, s = 2/k.

        Parameters
        ----------
        grid
            x, of any shape.
        width
            Standard deviation of the kernel; ``resolution`` unless given.

        Raises
        ------
        UsageError
            The width is not positive; all nodes are one, so that there is no width to choose.
        """
        width = self.resolution if width is None else width
        if not width > 0:
            raise UsageError(
                "a density needs a kernel of positive width",
                where=f"width = {width}",
                todo="Give a width: the spectrum may be a single point.",
            )
        x = np.asarray(grid, dtype=np.float64)
        peak = 1 / (width * math.sqrt(2 * math.pi))
        curves = np.empty((len(self.nodes), *x.shape))
        for curve, nodes, weights in zip(curves, self.nodes, self.weights, strict=True):
            curve[...] = peak * np.exp(-0.5 * ((x[..., None] - nodes) / width) ** 2) @ weights
        mean, half = curves.mean(axis=0), student_t(len(curves)) * standard_error(curves)
        return Band(value=mean, low=np.maximum(mean - half, 0.0), high=mean + half)

    def fraction_below(self, grid: Floats) -> Band:
        """Return the share of eigenvalues below x; times ``n``, their number.

        The interval is for the true share and holds both what probes scatter and what quadrature leaves open: for each
        probe it is known between which bounds the weight of the eigenvalues below x lies, and the interval is Student's
        of the lower bounds' mean and of the upper's. Its coverage is therefore at least 95 %.

        The bounds are the better of two. With nodes θ_1 < … < θ_k and x between θ_i and θ_{i+1}, those of Chebyshev,
        Markov and Stieltjes (``szego1975orthogonal``, theorem 3.41.1): w_1 + … + w_{i−1} and w_1 + … + w_{i+1}. And,
        close where the nodes near x have converged: a Ritz vector at distance d above x has at most ‖r‖/d of its
        length among the eigenvectors below x, so that the weight there is at most (√(Σ_{j≤i} w_j) +
        Σ_{j>i} √w_j·min(1, ‖r_j‖/d_j))²; the same from above bounds it from below.

        Eigenvalues that are 0 up to rounding fall on either side of x = 0: ask for a little less, such as −1e-6·‖A‖,
        to count only what is certainly negative.

        Parameters
        ----------
        grid
            x, of any shape.

        Examples
        --------
        >>> import torch
        >>> from deepscope.linalg import LinearOperator, lanczos_quadrature
        >>> A = LinearOperator.from_matrix(np.diag([-2.0] * 30 + [1.0] * 70))
        >>> measure = lanczos_quadrature(A, n_probes=4, n_steps=10, generator=torch.Generator().manual_seed(0))
        >>> round(float(measure.fraction_below(np.array(0.0)).value), 6)
        0.3
        """
        x = np.asarray(grid, dtype=np.float64)
        flat = x.reshape(-1)
        bounds = [_weight_below(*probe, flat) for probe in zip(self.nodes, self.weights, self.residuals, strict=True)]
        low, value, high = (np.array(each) for each in zip(*bounds, strict=True))
        t = student_t(len(low))
        return Band(
            value=value.mean(axis=0).reshape(x.shape),
            low=np.maximum(low.mean(axis=0) - t * standard_error(low), 0.0).reshape(x.shape),
            high=np.minimum(high.mean(axis=0) + t * standard_error(high), 1.0).reshape(x.shape),
        )


def _weight_below(nodes: Floats, weights: Floats, residuals: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a lower bound, the quadrature's own value, and an upper bound of a probe's weight below each x."""
    total = np.concatenate([[0.0], np.cumsum(weights), [1.0]])
    below = np.searchsorted(nodes, x)
    distance = np.maximum(np.maximum(np.abs(nodes - x[:, None]), residuals), np.finfo(float).tiny)
    leak = np.sqrt(weights) * residuals / distance
    left = nodes < x[:, None]
    inside = np.minimum(total[below], 1.0)
    most = (np.sqrt(inside) + np.sum(leak * ~left, axis=1)) ** 2
    most_above = (np.sqrt(1.0 - inside) + np.sum(leak * left, axis=1)) ** 2
    low = np.maximum(total[np.maximum(below - 1, 0)], 1.0 - most_above)
    high = np.minimum(total[below + 1], most)
    return np.minimum(low, inside), inside, np.maximum(high, inside)
