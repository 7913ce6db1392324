"""Tours through cities: their length, exact ones, and the nearest-neighbour heuristic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.studies.self_organisation._tsplib import Floats, Lengths

#: A closed tour: every city once, [n].
Tour = NDArray[np.int64]

_MOST = 16


def length(distance: Lengths, tour: Any) -> int:
    """Return the length of a closed tour."""
    return int(distance[tour, np.roll(tour, -1)].sum())


def is_permutation(tour: Tour, n: int) -> bool:
    """Return whether each of n cities is in the tour once."""
    return np.array_equal(np.sort(tour), np.arange(n))


def shortest_length(distance: Lengths) -> int:
    """Return the length of the shortest tour, by the dynamic programme of ``held1962dynamic``.

    The shortest path from the last city through a set S to its member j is that to some i in S without j, and then
    from i to j. Cost: O(2ⁿ n²) in time, O(2ⁿ n) in memory, for 2 ≤ n ≤ 16.

    Raises
    ------
    UsageError
        Fewer than 2 cities, or more than 16.
    """
    others = len(distance) - 1
    if not 1 <= others < _MOST:
        raise UsageError(f"{others + 1} cities", where="shortest_length", todo=f"Give 2 to {_MOST} of them.")
    sets = np.arange(2**others)
    sizes = np.array([bin(each).count("1") for each in sets])
    path = np.full((2**others, others), np.inf)
    path[2 ** np.arange(others), np.arange(others)] = distance[-1, :-1]
    for size in range(2, others + 1):
        for j in range(others):
            chosen = sets[(sizes == size) & (sets >> j & 1 == 1)]
            path[chosen, j] = (path[chosen ^ 1 << j] + distance[:-1, j]).min(axis=1)
    return int((path[-1] + distance[:-1, -1]).min())


def around(cities: Floats) -> Tour:
    """Return the tour by angle about the cities' mean: the shortest one of cities in convex position.

    A tour that crosses itself can be shortened, and the boundary of the polygon is the only one that does not
    (``flood1956traveling``).
    """
    x, y = (cities - cities.mean(axis=0)).T
    return np.argsort(np.arctan2(y, x))


def nearest_neighbour(distance: Lengths) -> Tour:
    """Return the tour that starts at city 0 and goes to the nearest city not yet visited."""
    left = np.ones(len(distance), dtype=bool)
    tour = [0]
    for _ in range(len(distance) - 1):
        left[tour[-1]] = False
        tour.append(int(np.where(left, distance[tour[-1]], np.iinfo(np.int64).max).argmin()))
    return np.array(tour)
