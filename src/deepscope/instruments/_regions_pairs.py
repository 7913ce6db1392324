"""Which units, or windows, are left to cut which cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._regions_cells import Cells, Integers, ranges
from deepscope.instruments._regions_split import extremes, heights_of
from deepscope.instruments._regions_vertices import Vertices

#: Values at corners that are compared at once.
_BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class Pairs:
    """For each cell a list of numbers."""

    items: Integers
    counts: Integers

    @property
    def starts(self) -> Integers:
        return np.cumsum(self.counts) - self.counts

    @property
    def owners(self) -> Integers:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, which: Integers) -> Pairs:
        return Pairs(self.items[ranges(self.starts[which], self.counts[which])], self.counts[which])

    def less_first(self) -> Pairs:
        return Pairs(np.delete(self.items, self.starts), self.counts - 1)

    def keep(self, which: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.items[which], np.bincount(self.owners[which], minlength=len(self.counts)))


def with_both_signs(cells: Cells, vertices: Vertices, units: int) -> Pairs:
    """Pair each cell with the units that have both signs on it."""
    above, below = (np.bitwise_or.reduceat(bits[cells.corners], cells.starts) for bits in vertices.signs())
    cut = np.bitwise_and(above, below)
    some = np.flatnonzero(cut.any(axis=1))
    owners, items = np.nonzero(np.unpackbits(cut[some], axis=1, count=units))
    return Pairs(items, np.bincount(some[owners], minlength=len(cells)))


def both_signs(cells: Cells, vertices: Vertices, pairs: Pairs, zero: int) -> NDArray[np.bool_]:
    """Whether a unit has both signs on a cell; for each pair of the two. ``zero`` is the column that is zero."""
    found = [np.zeros(0, dtype=bool)]
    for owners, items in _blocks(cells, pairs, 1):
        heights, starts = heights_of(cells, vertices, owners, items, np.full(len(items), zero))
        low, high = extremes(heights, starts)
        found.append((low < 0) & (high > 0))
    return np.concatenate(found)


def without_winner(cells: Cells, vertices: Vertices, windows: Integers) -> Pairs:
    """Pair each cell with the windows none of whose candidates is the largest at all its corners."""
    found = []
    block = max(1, _BLOCK // (vertices.count * windows.shape[1]))
    for start in range(0, len(windows), block):
        some = windows[start : start + block]
        largest = vertices.near_largest(np.arange(vertices.count)[:, None], some)
        left = np.flatnonzero(np.logical_not(np.any(np.all(largest, axis=0), axis=1)))
        owners, items = np.nonzero(_have_no_winner(largest[:, left][cells.corners], cells.starts))
        found.append((owners, left[items] + start))
    owners, items = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.argsort(owners, kind="stable")
    return Pairs(items[order], np.bincount(owners, minlength=len(cells)))


def no_winner(cells: Cells, vertices: Vertices, windows: Integers, pairs: Pairs) -> NDArray[np.bool_]:
    """Whether none of a window's candidates is the largest at all corners of a cell; for each pair of the two."""
    found = [np.zeros(0, dtype=bool)]
    for owners, items in _blocks(cells, pairs, windows.shape[1]):
        counts = cells.counts[owners]
        corners = cells.corners[ranges(cells.starts[owners], counts)]
        largest = vertices.near_largest(corners, windows[np.repeat(items, counts)])
        found.append(_have_no_winner(largest, np.cumsum(counts) - counts))
    return np.concatenate(found)


def _blocks(cells: Cells, pairs: Pairs, values: int) -> Iterator[tuple[Integers, Integers]]:
    """Yield cells and what they are paired with, a part at a time; with so many values at each corner."""
    owners = pairs.owners
    block = max(1, _BLOCK // (values * int(cells.counts.max(initial=1))))
    for start in range(0, len(owners), block):
        yield owners[start : start + block], pairs.items[start : start + block]


def _have_no_winner(largest: NDArray[np.bool_], starts: Integers) -> NDArray[np.bool_]:
    """Whether no candidate, along the last dimension, is the largest at all corners of a cell, along the first."""
    found: NDArray[np.bool_] = np.logical_not(np.any(np.logical_and.reduceat(largest, starts), axis=-1))
    return found
