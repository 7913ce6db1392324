"""How much two mean losses over the same data differ, with an interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def paired_interval(
    differences: Floats, counts: Floats, *, comparisons: int = 1, confidence: float = 0.95
) -> tuple[float, float] | None:
    r"""Return the Student t interval of the weighted mean of paired differences.

    :math:`\bar d = \sum c_i d_i / \sum c_i`, with the variance of a ratio of means,
    :math:`s^2 = \tfrac{n}{n-1} \sum c_i^2 (d_i - \bar d)^2 / (\sum c_i)^2`.

    Parameters
    ----------
    differences
        One per unit of data (a sample, or a chunk of samples), [n].
    counts
        Its number of terms, [n]; units without terms do not count.
    comparisons
        Of how many differences this one was chosen; Bonferroni's correction.
    confidence
        Probability that the interval holds the mean over all data of the kind.

    Returns
    -------
    tuple or None
        Its ends; None for fewer than two units, or a difference that is not finite.

    Examples
    --------
    >>> low, high = paired_interval(np.array([1.0, 2.0, 3.0]), np.ones(3))
    >>> round(low, 2), round(high, 2)
    (-0.48, 4.48)
    """
    differences, counts = differences[counts > 0], counts[counts > 0]
    n = len(counts)
    if n < 2 or not np.isfinite(differences).all():
        return None
    share = counts / counts.sum()
    mean = float(share @ differences)
    error = math.sqrt(n / (n - 1) * float(np.sum((share * (differences - mean)) ** 2)))
    half = float(stats.t.ppf(1 - (1 - confidence) / (2 * comparisons), n - 1)) * error
    return mean - half, mean + half


def standard_error(values: Floats, counts: Floats) -> float | None:
    """Return the standard error of a weighted mean over units of data; None for fewer than two."""
    ends = paired_interval(values, counts)
    n = int((counts > 0).sum())
    return None if ends is None else (ends[1] - ends[0]) / 2 / float(stats.t.ppf(0.975, n - 1))
