"""The perceptron: from w = 0, add each point z with z·w ≤ 0 that comes along.

A point z is a sample times its label ±1, as in ``_separation``. With integer coordinates all sums are integers that
float64 holds exactly, so that a mistake is a mistake and not rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Points whose sign is asked for in one product.
_BLOCK = 64


def sweep(points: Floats, weights: Floats) -> tuple[Floats, list[int]]:
    """Pass over the points once, in their order.

    Parameters
    ----------
    points
        [n, d].
    weights
        [d], left as it is.

    Returns
    -------
    weights, mistakes
        [d], and the places of the points that were added, ascending.
    """
    place, mistakes = 0, []
    while place < len(points):
        wrong = points[place : place + _BLOCK] @ weights <= 0
        ahead = int(wrong.argmax())
        if not wrong[ahead]:
            place += len(wrong)
            continue
        place += ahead
        weights = weights + points[place]
        mistakes.append(place)
        place += 1
    return weights, mistakes


def cyclic_updates(points: Floats, limit: float) -> int:
    """Return the number of updates until all points are right, passing over them again and again.

    It stops at the end of the pass in which the limit is exceeded.
    """
    weights, updates = np.zeros(points.shape[1]), 0
    while updates <= limit:
        weights, mistakes = sweep(points, weights)
        if not mistakes:
            break
        updates += len(mistakes)
    return updates


def closest_first_updates(points: Floats, limit: float) -> int:
    """Return the number of updates if, of the points on the wrong side, the one nearest the hyperplane is added.

    This order makes w grow as fast as the proof of the bound allows. It stops one update beyond the limit.
    """
    gram = points @ points.T
    products, updates = np.zeros(len(points)), 0
    while updates <= limit:
        wrong = np.where(products <= 0, products, -np.inf)
        nearest = int(wrong.argmax())
        if products[nearest] > 0:
            break
        products += gram[nearest]
        updates += 1
    return updates


def passes_until_right(points: Floats, limit: int) -> int | None:
    """Return the number of passes up to and with the first one without a mistake; None beyond the limit."""
    weights = np.zeros(points.shape[1])
    for done in range(1, limit + 1):
        weights, mistakes = sweep(points, weights)
        if not mistakes:
            return done
    return None


def fate(points: Floats, limit: int) -> tuple[str, int]:
    """Return how passing over the points ends: ``"stops"``, ``"cycles"`` or ``"open"``, and after how many passes.

    A pass depends on the weights at its start alone. Where they are what they were at the start of an earlier pass,
    with mistakes in between, the same passes follow for ever.
    """
    weights = np.zeros(points.shape[1])
    seen = {weights.tobytes()}
    for done in range(1, limit + 1):
        weights, mistakes = sweep(points, weights)
        if not mistakes:
            return "stops", done
        key = (weights + 0.0).tobytes()
        if key in seen:
            return "cycles", done
        seen.add(key)
    return "open", limit
