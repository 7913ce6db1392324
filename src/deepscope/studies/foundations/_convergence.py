"""What the updates of a perceptron show: that it ended with all points right, and the two halves of the bound's proof.

After k updates |w|² ≤ k R², for a point that is added is on the wrong side and makes the square longer by its own at
most; and w·u ≥ k γ for the unit normal u of the best hyperplane, for each point adds γ at least. Hence k γ ≤ √k R, and
k ≤ (R/γ)² (``novikoff1963convergence``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deepscope.studies.foundations._separation import Floats, Margin


class Convergence(NamedTuple):
    """How one run went.

    Attributes
    ----------
    updates
        k at its end.
    least
        Smallest z·w of its last weights; positive where all points are right. An integer where the points are.
    growth
        Largest |w|²/(k R²) after any of its updates; 0 without one.
    advance
        Smallest w·u/(k γ) after any of its updates; 0 without one.
    """

    updates: int
    least: float
    growth: float
    advance: float


def convergence(points: Floats, added: list[int], margin: Margin) -> Convergence:
    """Follow the weights, the sums of the points added so far.

    Parameters
    ----------
    points
        [n, d], z.
    added
        Places of the points added, in their order.
    margin
        γ/R of the points, with u; the larger proven value is held against the run.

    Notes
    -----
    k·d numbers are kept.
    """
    if not added:
        return Convergence(0, 0.0, 0.0, 0.0)
    weights = np.cumsum(points[added], axis=0)
    updates = np.arange(1, len(added) + 1)
    square = (points**2).sum(axis=1).max()
    return Convergence(
        updates=len(added),
        least=float((points @ weights[-1]).min()),
        growth=float(((weights**2).sum(axis=1) / (updates * square)).max()),
        advance=float((weights @ margin.normal / (updates * margin.high * np.sqrt(square))).min()),
    )
