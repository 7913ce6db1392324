"""How far paired samples lie from each other, in units of how far unrelated ones do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedDistance:
    """Distance of paired samples.

    Attributes
    ----------
    value
        Mean squared distance of a pair over that of unrelated samples: 0 where all pairs agree, 1 in expectation where
        they are independent with equal means.
    influences
        [n], what each sample adds to it, to first order; they sum to 0, and the mean of several distances over the
        same samples has the mean of their influences.
    scale
        Mean of ‖a‖² + ‖b‖², in units of the squared distance of unrelated samples: by how much the square of a
        relative error of all entries is magnified in ``value``.
    """

    value: float
    influences: Floats = field(repr=False)
    scale: float

    @property
    def stderr(self) -> float:
        """Standard error over samples, by the delta method."""
        return float(self.influences.std(ddof=1)) / math.sqrt(len(self.influences))


def paired_distance(a: Any, b: Any, *, resolution: float = 0.0) -> PairedDistance | None:
    """Measure the mean squared distance of pairs in units of that of unrelated samples.

    Σ ‖a_i − b_i‖² / n over tr Cov(a) + tr Cov(b), with unbiased covariances: for independent a and b of equal means
    numerator and denominator have the same expectation. It is symmetric in a and b, and does not change when both are
    scaled, shifted or turned alike. A difference of the means makes it larger, without a limit.

    Parameters
    ----------
    a, b
        [n, d], NumPy or torch; row i of one belongs to row i of the other.
    resolution
        Relative error of the entries: where unrelated samples differ by less, there is no distance to measure with.

    Returns
    -------
    PairedDistance or None
        None with fewer than two samples, or where neither a nor b differs between samples.

    Raises
    ------
    UsageError
        The arrays are not of one shape [n, d].

    Notes
    -----
    Computed in float64. Cost: O(n d).
    For one feature it is 1 − 2 cov(a, b) / (var a + var b) plus the squared difference of means over the same, as in
    Lin's concordance correlation (``lin1989concordance``), whose denominator includes that difference.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> paired_distance(x, x).value, round(paired_distance(x, 3 - x).value, 12)
    (0.0, 1.5)
    """
    one, other = (np.asarray(each, np.float64) for each in (a, b))
    if one.ndim != 2 or one.shape != other.shape:
        raise UsageError("pairs are rows of two arrays of one shape [n, d]", where=f"{one.shape} and {other.shape}")
    n = len(one)
    if n < 2:
        return None
    apart = _squares(one - other)
    spread = _squares(one - one.mean(axis=0)) + _squares(other - other.mean(axis=0))
    sizes = float(_squares(one).mean() + _squares(other).mean())
    unrelated = float(spread.sum()) / (n - 1)
    if not unrelated > resolution**2 * sizes or unrelated < np.finfo(float).tiny:
        return None
    value = float(apart.mean()) / unrelated
    influences = (apart - value * spread * n / (n - 1)) / unrelated
    return PairedDistance(value, influences, sizes / unrelated)


def _squares(rows: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", rows, rows), np.float64)
