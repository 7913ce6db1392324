"""What the eigenvalues of one tensor say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepscope.linalg import (
    effective_rank,
    fit_power_law,
    mp_cdf,
    mp_edges,
    mp_variance,
    stable_rank,
    tracy_widom_threshold,
)
from deepscope.subject import Weight

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WeightSpectrum:
    """The numbers of one tensor; None where a number does not exist, with ``status`` saying why there is no α.

    Attributes
    ----------
    name, layer
        The tensor's name, with its part in brackets where it is one part of several, and the layer it belongs to.
    part
        What that part does, such as ``query``; empty for a whole tensor.
    read_as
        For a convolution ``slices``, ``flattened`` or ``circulant`` with its grid; ``low-rank core`` for an update of
        rank r, whose matrix [r, r] has its singular values other than 0; empty for other tensors.
    rows, cols, n_matrices
        Sides of its matrices as stored, and how many there are.
    status
        ``"ok"``, or why there is no exponent.
    alpha, alpha_stderr, ks_distance, x_min, n_tail
        The power-law tail of the positive eigenvalues.
    stable_rank, effective_rank, rank
        Σλ/λ_max, exp of the entropy of σ/Σσ, number of positive eigenvalues.
    log_norm, log_spectral_norm
        log₁₀ Σλ and log₁₀ λ_max.
    mp_lower, mp_upper, n_spikes, mp_distance
        Edges of the random-matrix null, number of eigenvalues above it, largest distance between the distribution
        functions of the eigenvalues and of the null. None where most eigenvalues are 0.
    """

    name: str
    layer: str
    rows: int
    cols: int
    n_matrices: int
    status: str
    alpha: float | None = None
    alpha_stderr: float | None = None
    ks_distance: float | None = None
    x_min: float | None = None
    n_tail: int | None = None
    stable_rank: float | None = None
    effective_rank: float | None = None
    log_norm: float | None = None
    log_spectral_norm: float | None = None
    mp_lower: float | None = None
    mp_upper: float | None = None
    n_spikes: int | None = None
    mp_distance: float | None = None
    rank: int | None = None
    part: str = ""
    read_as: str = ""

    @property
    def tensor(self) -> str:
        """Name of the tensor."""
        return self.name.removesuffix(f"[{self.part}]") if self.part else self.name

    @property
    def full_rank(self) -> int:
        """The largest rank its shape allows."""
        return self.n_matrices * min(self.rows, self.cols)


def weight_spectrum(
    weight: Weight, shape: Sequence[int], eigenvalues: Floats | None, status: str = "", part: str = ""
) -> WeightSpectrum:
    """Return the numbers of a tensor of matrices [n_matrices, rows, cols].

    Parameters
    ----------
    weight, shape
        The tensor's handle, and the shape of its matrices.
    eigenvalues
        Of all its matrices, ascending, 0 where they cannot be told from 0; None where there are none.
    status
        Why there are no eigenvalues.
    part
        Which part of the tensor this is; empty where it is the whole.
    """
    n_matrices, rows, cols = shape
    row = WeightSpectrum(
        name=f"{weight.name}[{part}]" if part else weight.name,
        layer=weight.layer,
        rows=rows,
        cols=cols,
        n_matrices=n_matrices,
        status=status,
        part=part,
    )
    if eigenvalues is None:
        return row
    if eigenvalues[-1] == 0:
        return replace(row, status="all values are zero", rank=0)
    positive = eigenvalues[eigenvalues > 0]
    fit = fit_power_law(positive)
    null = _random_null(eigenvalues, rows, cols)
    return replace(
        row,
        status=fit.status,
        alpha=fit.alpha,
        alpha_stderr=fit.stderr,
        ks_distance=fit.ks_distance,
        x_min=fit.x_min,
        n_tail=fit.n_tail,
        stable_rank=stable_rank(positive),
        effective_rank=effective_rank(positive),
        log_norm=math.log10(float(positive.sum())),
        log_spectral_norm=math.log10(float(positive[-1])),
        mp_lower=null[0],
        mp_upper=null[1],
        n_spikes=null[2],
        mp_distance=null[3],
        rank=positive.size,
    )


def _random_null(
    eigenvalues: Floats, rows: int, cols: int
) -> tuple[float, float, int, float] | tuple[None, None, None, None]:
    variance = mp_variance(eigenvalues, rows, cols)
    if variance == 0:
        return None, None, None, None
    lower, upper = mp_edges(rows, cols, variance)
    n_spikes = int(np.sum(eigenvalues > tracy_widom_threshold(rows, cols, variance)))
    n = eigenvalues.size
    model = mp_cdf(eigenvalues, rows, cols, variance)
    ranks = np.arange(n + 1) / n
    distance = float(np.maximum(np.abs(model - ranks[:-1]), np.abs(model - ranks[1:])).max())
    return lower, upper, n_spikes, distance
