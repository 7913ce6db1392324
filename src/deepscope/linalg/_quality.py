"""Numbers that the literature reads off a spectrum to judge a layer without data."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepscope.core import MeasurementError

Floats = NDArray[np.float64]


def matrix_entropy(eigenvalues: Floats) -> float | None:
    """Return −Σ p ln p / ln R with p = λ/Σλ over the R positive eigenvalues of WᵀW; between 0 and 1.

    1 where all are equal, as in an orthogonal matrix; near 0 where one direction holds nearly all of the norm. None
    for a matrix of rank 1, whose entropy is 0 over ln 1. Source: ``martin2021implicit``.

    >>> matrix_entropy(np.array([0.0, 5.0, 5.0]))
    1.0
    """
    positive = _positive(eigenvalues)
    if positive.size == 1:
        return None
    p = positive / positive.sum()
    return float(-np.sum(p * np.log(p)) / math.log(positive.size))


def log_alpha_norm(eigenvalues: Floats, alpha: float) -> float:
    """Return log₁₀ Σ λ^α: the logarithm of the α-norm of W to the power 2α, in which λ = σ².

    In logarithms, so that an exponent in the tens overflows nothing. Source: ``martin2021predicting``.

    >>> round(log_alpha_norm(np.array([1.0, 10.0]), 3.0), 4)
    3.0004
    """
    logs = alpha * np.log10(_positive(eigenvalues))
    largest = float(logs.max())
    return largest + math.log10(float(np.sum(10.0 ** (logs - largest))))


def unit_determinant_tail(eigenvalues: Floats) -> int:
    """Return how many of the largest eigenvalues multiply to 1, once they are scaled to a mean of 1.

    The largest k with Σ ln λ̃ᵢ ≥ 0 over the k largest, where λ̃ = λ · n / Σλ over all n eigenvalues. A product of 1 is
    the condition of the exact renormalisation group: a layer is said to have learned ideally where this tail is the
    tail of the power law, which has α = 2 then. Sums of logarithms neither overflow nor underflow. n where the
    eigenvalues are all equal, for their geometric mean is never above their mean. Source: ``martin2025setol``.

    >>> unit_determinant_tail(np.array([0.01, 0.02, 0.5, 4.0]))
    2
    """
    positive = np.sort(_positive(eigenvalues))
    logs = np.log(positive * (np.size(eigenvalues) / positive.sum()))
    # Rounding of a sum of n logarithms of order 1.
    slack = positive.size * float(np.finfo(np.float64).eps)
    return int(np.flatnonzero(np.cumsum(logs[::-1]) >= -slack)[-1]) + 1


def _positive(eigenvalues: Floats) -> Floats:
    positive = eigenvalues[eigenvalues > 0]
    if not positive.size:
        raise MeasurementError("a matrix of zeros has nothing to measure")
    return positive
