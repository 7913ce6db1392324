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


def cyclic(points: Floats, limit: float) -> list[int]:
    """Return the places of the points added until all are right, passing over them again and again.

    It stops at the end of the pass in which the limit of updates is exceeded.
    """
    weights = np.zeros(points.shape[1])
    added: list[int] = []
    while len(added) <= limit:
        weights, mistakes = sweep(points, weights)
        if not mistakes:
            break
        added += mistakes
    return added


def closest_first(points: Floats, limit: float) -> list[int]:
    """Return the places of the points added until all are right: of those that are wrong, the nearest the hyperplane.

    The bound holds for every order. It stops one update beyond the limit.
    """
    gram = points @ points.T
    products = np.zeros(len(points))
    added: list[int] = []
    while len(added) <= limit:
        wrong = np.where(products <= 0, products, -np.inf)
        nearest = int(wrong.argmax())
        if products[nearest] > 0:
            break
        products += gram[nearest]
        added.append(nearest)
    return added


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
