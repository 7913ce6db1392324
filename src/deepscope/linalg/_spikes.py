"""How many eigenvalues stand out of the noise, at a stated rate of false alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from deepscope.core import UsageError
from deepscope.linalg._bbp import squared_strength
from deepscope.linalg._marchenko_pastur import mp_edges, mp_variance, tracy_widom_centre, tracy_widom_scale
from deepscope.linalg._tracy_widom import log_tail, tail_curvature

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Spikes:
    """Eigenvalues that noise does not make.

    Attributes
    ----------
    status
        ``"ok"``, or why nothing can be said; the numbers are then None.
    count
        How many eigenvalues lie above ``threshold``.
    threshold
        What the largest remaining eigenvalue of noise exceeds with a probability of ``level``.
    variance
        Of the entries of the noise.
    p_value
        Probability that the largest eigenvalue of noise is at least as large as the one seen.
    """

    status: str
    count: int | None = None
    threshold: float | None = None
    variance: float | None = None
    p_value: float | None = None


def count_spikes(eigenvalues: Floats, rows: int, cols: int, n_matrices: int = 1, level: float = 0.01) -> Spikes:
    """Count the eigenvalues of WᵀW that lie above those of a random matrix whose variance is not known.

    λ is the (k + 1)-th largest eigenvalue, k those above it. It is a spike if T = (λ/σ²_k − centre)/scale, with centre
    and scale of the sides rows − k and cols − k, exceeds a quantile of the law of T, where

        σ²_k = Σ remaining eigenvalues / ((rows − k)·(cols − k)·(1 − Σ_{j≤k} σ²_k/θ_j²))

    and θ_j is the strength of the j-th spike (``spike_strength``): its eigenvalue takes with it a part of the noise's.
    T is not of the Tracy–Widom law, as λ is a part of the sum it is divided by. For k = 0 the ratio and the sum are
    independent, so that the law of T is Tracy–Widom's narrowed by the sum's variance, τ² = 2/(rows·cols) ·
    (centre/scale)²: to leading order P(T > t) = S(t)·exp(−τ²·S″(t)/(2·S(t))) with S = 1 − F (``nadler2011distribution``
    has S − τ²·S″/2, negative far out). The sequence of tests is ``kritchman2009non``'s. It begins at the number of
    eigenvalues above the bulk's edge at the median's variance, which many spikes cannot raise, and goes down while the
    last is none, then up while the next is one.

    Parameters
    ----------
    eigenvalues
        All eigenvalues of the smaller Gram matrix, in any order; for several matrices of one shape and one variance,
        those of all.
    rows, cols
        Shape of a matrix.
    n_matrices
        How many matrices; k of the formula is then their mean, and ``level`` and ``p_value`` are those of all together.
    level
        Probability of any spike in noise.

    Returns
    -------
    Spikes
        At most half of the eigenvalues are spikes. A status where more than half are 0: there is no noise to
        judge by.

    Raises
    ------
    UsageError
        The number of eigenvalues is not n_matrices · min(rows, cols), or the level is not between 0 and 1.

    Notes
    -----
    Cost: a sort, and O(k) a test; well below a millisecond for few spikes.

    Examples
    --------
    >>> from deepscope.linalg import random_gram_eigenvalues
    >>> values = random_gram_eigenvalues(100, 400, np.random.default_rng(0)).ravel()
    >>> values[-1] = 1500.0
    >>> spikes = count_spikes(values, 100, 400)
    >>> spikes.count, spikes.p_value < 1e-6
    (1, True)
    """
    if eigenvalues.size != n_matrices * min(rows, cols):
        raise UsageError(
            f"{eigenvalues.size} eigenvalues are not those of {n_matrices} matrices of shape {rows} × {cols}",
            todo="Give all of them, zeros too.",
        )
    if not 0 < level < 1:
        raise UsageError("the level of a test lies between 0 and 1", where=str(level), todo="Use 0.01, for example.")
    robust = mp_variance(eigenvalues, rows, cols)
    if robust == 0:
        return Spikes(status="more than half of the eigenvalues are 0")
    falling = np.sort(eigenvalues)[::-1] / robust
    noise = _Noise(falling, rows, cols, n_matrices)
    most = falling.size // 2
    count = min(int(np.sum(falling > mp_edges(rows, cols, 1.0)[1])), most)
    while count and noise.p_value(falling[count - 1], count - 1) > level:
        count -= 1
    while count < most and noise.p_value(falling[count], count) <= level:
        count += 1
    return Spikes(
        status="ok",
        count=count,
        threshold=robust * noise.threshold(count, level),
        variance=robust * noise.variance(count),
        # Judged with the others as spikes, so that it is below the level exactly where there is a spike.
        p_value=noise.p_value(falling[0], max(count - 1, 0)),
    )


class _Noise:
    """The null of the largest remaining eigenvalue, with the k largest of the pool taken for spikes."""

    def __init__(self, falling: Floats, rows: int, cols: int, n_matrices: int) -> None:
        self._falling, self._n = falling, n_matrices
        self._sides = float(rows), float(cols)
        # Small ones first: a huge spike must not round away the sum of the rest.
        self._remaining = np.cumsum(falling[::-1])[::-1]

    def _shape(self, k: int) -> tuple[float, float]:
        return self._sides[0] - k / self._n, self._sides[1] - k / self._n

    def variance(self, k: int) -> float:
        """Return σ²_k."""
        rows, cols = self._shape(k)
        own = variance = float(self._remaining[k]) / (self._n * rows * cols)
        for _ in range(20):
            # The expansion is one of few spikes: where they would claim more than half of the noise it is none.
            claimed = float(np.sum(variance / squared_strength(self._falling[:k], rows, cols, variance))) / self._n
            before, variance = variance, own / (1 - min(claimed, 0.5))
            # The law of T is seldom narrower than a thousandth of the eigenvalue.
            if abs(variance - before) <= 1e-7 * variance:
                break
        return variance

    def p_value(self, eigenvalue: float, k: int) -> float:
        """Return the probability that the largest of the remaining eigenvalues is at least this."""
        rows, cols = self._shape(k)
        height = (eigenvalue / self.variance(k) - tracy_widom_centre(rows, cols)) / tracy_widom_scale(rows, cols)
        tail = _log_tail(height, rows, cols, self._n)
        # ln(1 − exp(tail)), each branch where it keeps its precision.
        below = math.log1p(-math.exp(tail)) if tail < -1 else math.log(-math.expm1(tail))
        return abs(math.expm1(self._n * below))

    def threshold(self, k: int, level: float) -> float:
        """Return what the largest of the remaining eigenvalues exceeds with this probability."""
        rows, cols = self._shape(k)
        height = _height(rows, cols, self._n, level)
        return self.variance(k) * (tracy_widom_centre(rows, cols) + tracy_widom_scale(rows, cols) * height)


def _log_tail(height: float, rows: float, cols: float, n_matrices: int) -> float:
    """Return ln P(T > height) for one of the matrices."""
    relative = tracy_widom_centre(rows, cols) / tracy_widom_scale(rows, cols)
    half_tau_squared = relative * relative / (n_matrices * rows * cols)
    return min(float(log_tail(height) - half_tau_squared * tail_curvature(height)), -1e-16)


@lru_cache(maxsize=1024)
def _height(rows: float, cols: float, n_matrices: int, level: float) -> float:
    """Return the T that the largest of all matrices exceeds with this probability."""
    target = math.log(-math.expm1(math.log1p(-level) / n_matrices))
    return float(brentq(lambda t: _log_tail(t, rows, cols, n_matrices) - target, -9.0, 100.0, xtol=1e-9))
