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
        Mean squared distance of a pair over that of rows that are no pair: 0 where all pairs agree, 1 in expectation
        where which row belongs to which makes no difference.
    influences
        [n], what each sample adds to it, to first order; they sum to 0, and the mean of several distances over the
        same samples has the mean of their influences.
    scale
        Mean of ‖a‖² + ‖b‖² in units of the squared distance of rows that are no pair: by how much the square of a
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
    """Measure the mean squared distance of pairs in units of that of rows that are no pair.

    (1/n) Σ_i ‖a_i − b_i‖² over 1/(n(n−1)) Σ_{i≠j} ‖a_i − b_j‖². The second has the expectation
    tr Cov(a) + tr Cov(b) + ‖E a − E b‖² for independent samples, so that the ratio is 1 − ρ, with ρ the concordance
    correlation (``lin1989concordance``) summed over features. It is symmetric in a and b, from 0 to
    2 (n − 1) / (n − 2), where b = −a, and does not change when both are scaled, shifted or turned alike.

    Parameters
    ----------
    a, b
        [n, d], NumPy or torch; row i of one belongs to row i of the other.
    resolution
        Relative error of the entries: where samples of a, and of b, differ by less, there is no distance to measure
        with.

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
    Computed in float64. Cost: O(n d): no pair is formed.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> paired_distance(x, x).value, round(paired_distance(x, x + 1).value, 4)
    (0.0, 0.2308)
    """
    one, other = (np.asarray(each, np.float64) for each in (a, b))
    if one.ndim != 2 or one.shape != other.shape:
        raise UsageError("pairs are rows of two arrays of one shape [n, d]", where=f"{one.shape} and {other.shape}")
    n = len(one)
    if n < 2:
        return None
    apart = _squares(one - other)
    sizes = float((_squares(one) + _squares(other)).mean())
    means = one.mean(axis=0), other.mean(axis=0)
    spread = sum(float(_squares(each - mean).sum()) for each, mean in zip((one, other), means, strict=True)) / (n - 1)
    if not spread > resolution**2 * sizes or spread < np.finfo(float).tiny:
        return None
    # From a common centre, so that nothing cancels but what belongs together.
    centre = (means[0] + means[1]) / 2
    one, other = one - centre, other - centre
    squares = _squares(one), _squares(other)
    across = [
        own + theirs.mean() - 2 * rows @ (mean - centre)
        for rows, own, theirs, mean in zip((one, other), squares, squares[::-1], means[::-1], strict=True)
    ]
    # Each row against all of the others but its own partner, from both sides.
    unrelated = ((across[0] + across[1]) / 2 * n - apart) / (n - 1)
    mean = float(unrelated.mean())
    value = float(apart.mean()) / mean
    influences = (apart - apart.mean() - 2 * value * (unrelated - mean)) / mean
    return PairedDistance(value, influences, sizes / mean)


def _squares(rows: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", rows, rows), np.float64)
