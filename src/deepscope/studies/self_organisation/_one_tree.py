"""A lower bound of the shortest tour: no tour is shorter than a spanning tree with one edge more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepscope.studies.self_organisation._tsplib import Floats, Lengths


def lower_bound(distance: Lengths, near: Floats, steps: int = 200) -> Floats:
    """Return a length that no tour falls below, for instances side by side: [instances, n, n] to [instances].

    A tour is a 1-tree: a tree that spans all cities but the first, and two edges from there. Adding π_i + π_j to each
    distance adds 2 Σπ to every tour, so that the shortest 1-tree less 2 Σπ is a bound for any π
    (``held1970traveling``). Its subgradient is the number of edges at each city less 2. A step along it is as long as
    would close the gap to ``near``, were the bound linear, times a factor that shrinks from 2.

    Parameters
    ----------
    distance
        At least 3 cities.
    near
        Lengths that are about the shortest, [instances]. They set the length of steps; the bound holds whatever they
        are.
    steps
        Each costs O(n²).
    """
    potential = np.zeros(distance.shape[:2])
    best = np.full(len(distance), -np.inf)
    for step in range(steps):
        found, degree = _shortest_one_tree(distance + potential[:, :, None] + potential[:, None, :])
        bound = found - 2 * potential.sum(axis=1)
        best = np.maximum(best, bound)
        slope = degree - 2
        size = 2 * 0.985**step * np.maximum(near - bound, 0) / np.maximum((slope**2).sum(axis=1), 1)
        potential = potential + size[:, None] * slope
    return best


def _shortest_one_tree(distance: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return its length and the number of its edges at each city, by Prim's algorithm: [instances], [instances, n]."""
    count, n, _ = distance.shape
    every = np.arange(count)
    degree = np.zeros((count, n), dtype=np.int64)
    two = np.argsort(distance[:, 0, 1:], axis=1)[:, :2] + 1
    total = np.take_along_axis(distance[:, 0], two, axis=1).sum(axis=1)
    np.put_along_axis(degree, two, 1, axis=1)
    degree[:, 0] = 2
    # The tree grows from city 1: how far each other city is from it, and from which of its cities.
    away, parent = distance[:, 1].copy(), np.ones((count, n), dtype=np.int64)
    away[:, :2] = np.inf
    for _ in range(n - 2):
        new = away.argmin(axis=1)
        total += away[every, new]
        degree[every, new] += 1
        degree[every, parent[every, new]] += 1
        closer = (distance[every, new] < away) & np.isfinite(away)
        away = np.where(closer, distance[every, new], away)
        parent = np.where(closer, new[:, None], parent)
        away[every, new] = np.inf
    return total, degree
