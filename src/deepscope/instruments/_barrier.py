"""The height of the barrier on a path between two networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Resampled data sets for an interval; its ends then vary by some 3 % of its length.
RESAMPLES = 2000


@dataclass(frozen=True)
class Barrier:
    r"""How far the loss rises on a path from t = 0 to t = 1.

    Attributes
    ----------
    height
        :math:`\max_t L(t) - \tfrac12 (L(0) + L(1))`: the error barrier of Frankle et al. (2020).
    low, high
        Ends of its 95 % interval over data of the kind.
    at
        The t of the highest loss.
    above_chord, above_chord_low, above_chord_high
        :math:`\max_t [L(t) - (1 - t) L(0) - t L(1)]`: the barrier of Entezari et al. (2022), which is 0 on a straight
        slope, and its interval.
    status
        ``""``, or why a number is None.
    """

    height: float | None
    low: float | None
    high: float | None
    at: float | None
    above_chord: float | None
    above_chord_low: float | None
    above_chord_high: float | None
    status: str


def barrier(
    t: Floats, by_unit: Floats, counts: Floats, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Barrier:
    """Return the barrier and its paired bootstrap interval.

    Units of data are drawn with replacement; a unit brings its losses at all points of the path, so that what differs
    between samples but not along the path cancels.

    Parameters
    ----------
    t
        Points of the path, [m], from 0 to 1.
    by_unit
        Losses of each unit of data (a sample, or a chunk of samples), [m, n].
    counts
        Terms of each unit, [n].
    rng
        Draws the resampled data sets.
    resamples
        How many.

    Notes
    -----
    Percentile interval, ``efron1993introduction``. A maximum is biased upward by noise: a barrier of zero height has an
    interval that begins at zero and does not reach below.
    """
    by_unit, counts = by_unit[:, counts > 0], counts[counts > 0]
    mean = by_unit @ (counts / counts.sum())
    if not np.isfinite(mean).all():
        where = float(t[np.flatnonzero(~np.isfinite(mean))[0]])
        return Barrier(None, None, None, None, None, None, None, f"the loss is not finite at t = {where:.3g}")
    height, above = _heights(t, mean)
    at = float(t[int(np.argmax(mean))])
    if by_unit.shape[1] < 2:
        status = "one unit of data: no interval"
        return Barrier(float(height), None, None, at, float(above), None, None, status)
    drawn = np.empty((2, resamples))
    n = len(counts)
    for index in range(resamples):
        weights = np.bincount(rng.integers(n, size=n), minlength=n) * counts
        drawn[:, index] = _heights(t, by_unit @ (weights / weights.sum()))
    (low, above_low), (high, above_high) = np.quantile(drawn, [0.025, 0.975], axis=1)
    return Barrier(float(height), float(low), float(high), at, float(above), float(above_low), float(above_high), "")


def _heights(t: Floats, losses: Floats) -> tuple[float, float]:
    chord = (1 - t) * losses[0] + t * losses[-1]
    return losses.max() - (losses[0] + losses[-1]) / 2, (losses - chord).max()
