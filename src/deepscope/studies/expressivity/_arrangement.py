"""Cells into which hyperplanes cut space, found one after the other by linear programs, and their number by theory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Floats = NDArray[np.float64]

#: A cell counts if a ball of this radius fits into it: the solver's own tolerance is 1e-7. A ball of radius above 1 is
#: not looked for.
SMALLEST_RADIUS = 1e-6
#: Arrangements are used whose cells all have ten times that radius: none can be missed.
DECIDABLE_RADIUS = 1e-5
#: Unit normals are dependent where a singular value of theirs is below this.
DEPENDENT = 1e-9


def cells(normals: Floats, offsets: Floats) -> list[NDArray[np.int64]]:
    """Enumerate the cells of the first 1, 2, … n of the hyperplanes aᵢ·x + bᵢ = 0.

    A further hyperplane leaves a cell whole or halves it. The side on which the cell's known point lies is there; for
    the other, a linear program looks for the largest ball, max r with sᵢ(aᵢ·x + bᵢ) ≥ r|aᵢ| for all signs sᵢ. A cell is
    taken only with a point whose signs have been computed to be its own, so that none is invented.

    Parameters
    ----------
    normals
        [n, d], aᵢ.
    offsets
        [n], bᵢ.

    Returns
    -------
    list
        For each k = 1 … n the cells' signs ±1, [cells, k].

    Notes
    -----
    One linear program for each cell and further hyperplane.
    """
    lengths = np.linalg.norm(normals, axis=1)
    normals, offsets = normals / lengths[:, None], offsets / lengths
    found: list[tuple[tuple[int, ...], Floats]] = [((), np.zeros(normals.shape[1]))]
    by_count = []
    for k in range(1, len(normals) + 1):
        grown = []
        for signs, point in found:
            here = 1 if normals[k - 1] @ point + offsets[k - 1] > 0 else -1
            for side, known in ((here, point), (-here, None)):
                inside = _inside(normals[:k], offsets[:k], np.array([*signs, side]), known)
                if inside is not None:
                    grown.append(((*signs, side), inside))
        found = grown
        by_count.append(np.array([signs for signs, _ in found]))
    return by_count


def _inside(normals: Floats, offsets: Floats, signs: NDArray[np.int64], known: Floats | None) -> Floats | None:
    """Return a point of the cell with these signs: the known one where it is well inside, or else a ball's centre."""

    def depth(point: Floats) -> float:
        return float((signs * (normals @ point + offsets)).min())

    if known is not None and depth(known) > SMALLEST_RADIUS:
        return known
    features = normals.shape[1]
    ball = linprog(
        np.append(np.zeros(features), -1.0),
        A_ub=np.column_stack([-signs[:, None] * normals, np.ones(len(signs))]),
        b_ub=signs * offsets,
        bounds=[(None, None)] * features + [(0, 1)],
        method="highs",
    )
    if ball.status != 0:
        return None
    centre = np.asarray(ball.x)[:-1]
    return centre if depth(centre) > SMALLEST_RADIUS else None


def smallest_inradius(normals: Floats, offsets: Floats) -> float:
    """Return a bound from below for the radius of the largest ball in each cell, ∞ where no cell is enclosed.

    The largest ball of a cell that has one touches hyperplanes whose unit normals have exactly one linear dependence,
    Σ λᵢaᵢ = 0, in general position d + 1 of them; its radius is |Σ λᵢbᵢ| / Σ |λᵢ|. The bound is the smallest such
    radius: of all simplices, and of all slabs between two parallel hyperplanes.

    Parameters
    ----------
    normals
        [n, d].
    offsets
        [n].

    Notes
    -----
    The singular vectors of all subsets of 2 to d + 1 hyperplanes.
    """
    lengths = np.linalg.norm(normals, axis=1)
    normals, offsets = normals / lengths[:, None], offsets / lengths
    smallest = np.inf
    for size in range(2, min(len(normals), normals.shape[1] + 1) + 1):
        subsets = np.array(list(combinations(range(len(normals)), size)))
        _, values, vectors = np.linalg.svd(normals[subsets].swapaxes(1, 2))
        one = (values > DEPENDENT).sum(axis=1) == size - 1
        weights = vectors[one, -1]
        radii = np.abs((weights * offsets[subsets[one]]).sum(axis=1)) / np.abs(weights).sum(axis=1)
        smallest = min(smallest, radii.min(initial=np.inf))
    return float(smallest)


def decidable(draw: Callable[[], tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Draw normals and offsets until no cell is too small to be found."""
    while True:
        normals, offsets = draw()
        if smallest_inradius(normals, offsets) >= DECIDABLE_RADIUS:
            return normals, offsets


def generic_count(hyperplanes: int, dimensions: int) -> int:
    """Return Σ_{i≤d} C(n, i): the cells of n hyperplanes in general position, and the most that n can have.

    >>> generic_count(3, 2), generic_count(3, 3)
    (7, 8)
    """
    return sum(comb(hyperplanes, i) for i in range(dimensions + 1))


def parallel_count(sizes: Sequence[int], dimensions: int) -> int:
    """Return the cells of groups of parallel hyperplanes whose directions are in general position.

    Only hyperplanes of different groups meet: C(n, i) becomes the number of ways to choose i of them from different
    groups, the coefficient of tⁱ in Πₖ (1 + mₖ t).

    >>> parallel_count([2, 2], 2), parallel_count([1, 1, 1], 2)
    (9, 7)
    """
    product = np.array([1])
    for size in sizes:
        product = np.convolve(product, [1, size])
    return int(product[: dimensions + 1].sum())
