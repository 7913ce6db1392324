"""Cells cut by all units of a layer: where a unit's argument changes sign, or another candidate becomes the maximum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._regions_cells import Cells, Floats, Integers, ranges, together
from deepscope.instruments._regions_vertices import Growth, Vertices, rounding_of

#: Values of windows that are compared at once.
_BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class Cut:
    """What became of cells.

    Attributes
    ----------
    cells
        All parts.
    growth
        Their new vertices.
    cutting
        Numbers of the units, or windows, that cut some cell.
    complete
        False where there were too many vertices before all was cut: the same has to be done again.
    """

    cells: Cells
    growth: Growth
    cutting: Integers
    complete: bool


def cut_by_signs(cells: Cells, values: Floats, call: int, most_vertices: int) -> Cut:
    """Cut cells where values are zero.

    Each cell is cut by the first of its units, the parts by the first of those that still cut them, and so on; all
    cells at once. A cut goes through a polygon from edge to edge. Neighbours are cut at the same vertices.

    Parameters
    ----------
    cells
        What is cut.
    values
        [v, units], at all vertices, of functions that are affine on each cell.
    call
        What the new edges are made by.
    most_vertices
        Where there are more, cutting stops.

    Notes
    -----
    A unit has two signs on a cell where its values at corners are beyond 2⁻⁴² of its largest value, and 2⁻⁴⁶ of the
    layer's, on both sides of 0. A unit that is zero all over the slice cuts nothing, nor does the second of two equal
    ones.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    tolerance = rounding_of(low, high)
    # Most units of a large layer have one sign at all vertices.
    both = np.flatnonzero((low < -tolerance) & (high > tolerance))
    units = len(both)
    # A further one that is always zero: heights are differences of two.
    vertices = Vertices(cells.points, np.pad(values[:, both], ((0, 0), (0, 1))), np.append(tolerance[both], 0.0))
    pairs = _cut_at_all(cells, vertices, units)
    done = [cells.take(np.flatnonzero(pairs.counts == 0))]
    cutting = both[np.unique(pairs.items)]
    active = np.flatnonzero(pairs.counts)
    work, pairs = cells.take(active), pairs.take(active)
    # However many there are, one round is made: where none was, the next pass would begin as this one did.
    most = max(most_vertices, vertices.count)
    while len(work) and vertices.count <= most:
        chosen = pairs.items[pairs.starts]
        parts, parents = _split(work, vertices, chosen, np.full(len(work), units), call, both=True)
        pairs = pairs.less_first().take(parents)
        heights, starts = _heights(parts, vertices, pairs.owners, pairs.items, np.full(len(pairs.items), units))
        low, high = _extremes(heights, starts)
        pairs = pairs.keep((low < 0) & (high > 0))
        done.append(parts.take(np.flatnonzero(pairs.counts == 0)))
        left = np.flatnonzero(pairs.counts)
        work, pairs = parts.take(left), pairs.take(left)
    return Cut(together([*done, work], vertices.points), vertices.growth, cutting, not len(work))


def cut_by_maxima(cells: Cells, values: Floats, windows: Integers, call: int, most_vertices: int) -> Cut:
    """Cut cells into the parts on which the same candidate of each window is the largest.

    A cell is clipped for each candidate by its differences to all others. Of candidates that are equal all over a cell
    the first stands for all.

    Parameters
    ----------
    values
        [v, candidates], at all vertices.
    windows
        [windows, m], the candidates of each; −1 where it has fewer.
    cells, call, most_vertices
        As for ``cut_by_signs``.
    """
    tolerance = rounding_of(values.min(axis=0), values.max(axis=0))
    valid = windows >= 0
    # An absent candidate is its window's first once more.
    windows = np.where(valid, windows, windows[np.arange(len(windows)), valid.argmax(axis=1)][:, None])
    pairs = _all_undecided(cells, Vertices(cells.points, values, tolerance), windows)
    # Most windows of a large layer have one winner all over.
    used, windows = _renumbered(windows, pairs)
    vertices = Vertices(cells.points, values[:, used], tolerance[used])
    cutting = np.unique(pairs.items)
    done = [cells.take(np.flatnonzero(pairs.counts == 0))]
    active = np.flatnonzero(pairs.counts)
    work, pairs = cells.take(active), pairs.take(active)
    # However many there are, one round is made: where none was, the next pass would begin as this one did.
    most = max(most_vertices, vertices.count)
    while len(work) and vertices.count <= most:
        chosen = pairs.items[pairs.starts]
        parts, parents = _clipped(work, vertices, windows[chosen], valid[chosen], call)
        pairs = pairs.less_first().take(parents)
        pairs = pairs.keep(_is_undecided(parts, vertices, windows, pairs))
        done.append(parts.take(np.flatnonzero(pairs.counts == 0)))
        left = np.flatnonzero(pairs.counts)
        work, pairs = parts.take(left), pairs.take(left)
    return Cut(together([*done, work], vertices.points), vertices.growth, cutting, not len(work))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """For each cell a list of numbers."""

    items: Integers
    counts: Integers

    @property
    def starts(self) -> Integers:
        return np.cumsum(self.counts) - self.counts

    @property
    def owners(self) -> Integers:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def take(self, which: Integers) -> _Pairs:
        return _Pairs(self.items[ranges(self.starts[which], self.counts[which])], self.counts[which])

    def less_first(self) -> _Pairs:
        return _Pairs(np.delete(self.items, self.starts), self.counts - 1)

    def keep(self, which: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.items[which], np.bincount(self.owners[which], minlength=len(self.counts)))


def _cut_at_all(cells: Cells, vertices: Vertices, units: int) -> _Pairs:
    """Pair each cell with the units that have both signs on it."""
    above, below = (np.bitwise_or.reduceat(bits[cells.corners], cells.starts) for bits in vertices.signs())
    cut = np.bitwise_and(above, below)
    some = np.flatnonzero(cut.any(axis=1))
    owners, items = np.nonzero(np.unpackbits(cut[some], axis=1, count=units))
    return _Pairs(items, np.bincount(some[owners], minlength=len(cells)))


def _heights(
    cells: Cells, vertices: Vertices, owners: Integers, first: Integers, second: Integers
) -> tuple[Floats, Integers]:
    """Return the heights at all corners of the cells that are named, one after the other, and where each begins."""
    counts = cells.counts[owners]
    corners = cells.corners[ranges(cells.starts[owners], counts)]
    heights = vertices.heights(corners, np.repeat(first, counts), np.repeat(second, counts))
    return heights, np.cumsum(counts) - counts


def _extremes(heights: Floats, starts: Integers) -> tuple[Floats, Floats]:
    if not len(starts):
        return np.zeros(0), np.zeros(0)
    return np.minimum.reduceat(heights, starts), np.maximum.reduceat(heights, starts)


def _split(
    cells: Cells, vertices: Vertices, first: Integers, second: Integers, call: int, *, both: bool
) -> tuple[Cells, Integers]:
    """Cut every cell where two columns are equal.

    Returns
    -------
    parts, parents
        The parts where the first is the larger, and where asked for those where the second is; the cells they are of.
    """
    closed = cells.points.shape[1] == 2
    owner = np.repeat(np.arange(len(cells)), cells.counts)
    height = vertices.heights(cells.corners, first[owner], second[owner])
    following = cells.following()
    crossed = height * height[following] < 0
    if not closed:
        crossed[cells.starts + cells.counts - 1] = False
    edge = np.flatnonzero(crossed)
    new = vertices.between(
        cells.corners[edge],
        cells.corners[following[edge]],
        height[edge],
        height[following[edge]],
        first[owner[edge]],
        second[owner[edge]],
    )
    # Every corner, and behind those whose edge is crossed the new one.
    place = np.arange(len(crossed)) + np.cumsum(crossed) - crossed
    size = len(crossed) + len(edge)
    corners, made_by, heights = np.empty(size, np.int64), np.empty(size, np.int64), np.zeros(size)
    corners[place], corners[place[edge] + 1] = cells.corners, new
    made_by[place], made_by[place[edge] + 1] = cells.made_by, cells.made_by[edge] if closed else call
    heights[place] = height
    counts = cells.counts + np.bincount(owner[edge], minlength=len(cells))
    whole = Cells(vertices.points, corners, counts, made_by)
    after = whole.following()
    parts = []
    for sign in (1, -1) if both else (1,):
        kept = sign * heights >= 0
        # What follows on the last corner before those that are left out is the cut.
        labels = np.where(kept[after], made_by, call) if closed else made_by
        parts.append(
            Cells(vertices.points, corners[kept], np.add.reduceat(kept, whole.starts, dtype=np.int64), labels[kept])
        )
    every = np.arange(len(cells))
    return together(parts, vertices.points), np.concatenate([every] * len(parts))


def _all_undecided(cells: Cells, vertices: Vertices, windows: Integers) -> _Pairs:
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
    return _Pairs(items[order], np.bincount(owners, minlength=len(cells)))


def _renumbered(windows: Integers, pairs: _Pairs) -> tuple[Integers, Integers]:
    """Return the candidates of the windows that are paired, and all windows by their places among these."""
    used = np.unique(windows[np.unique(pairs.items)])
    # Of windows that are not paired no candidate is asked for.
    places = np.zeros(windows.max() + 1, dtype=np.int64)
    places[used] = np.arange(len(used))
    return used, places[windows]


def _is_undecided(cells: Cells, vertices: Vertices, windows: Integers, pairs: _Pairs) -> NDArray[np.bool_]:
    """Whether none of a window's candidates is the largest at all corners of a cell; for each pair of the two."""
    if not len(pairs.items):
        return np.zeros(0, dtype=bool)
    counts = cells.counts[pairs.owners]
    corners = cells.corners[ranges(cells.starts[pairs.owners], counts)]
    largest = vertices.near_largest(corners, windows[np.repeat(pairs.items, counts)])
    return _have_no_winner(largest, np.cumsum(counts) - counts)


def _have_no_winner(largest: NDArray[np.bool_], starts: Integers) -> NDArray[np.bool_]:
    """Whether no candidate, along the last dimension, is the largest at all corners of a cell, along the first."""
    found: NDArray[np.bool_] = np.logical_not(np.any(np.logical_and.reduceat(largest, starts), axis=-1))
    return found


def _clipped(
    cells: Cells, vertices: Vertices, candidates: Integers, valid: NDArray[np.bool_], call: int
) -> tuple[Cells, Integers]:
    """Return the parts of cells on which each of their candidates, [n, m], is the largest; and their cells."""
    parents, slot = np.nonzero(valid)
    work, mine = cells.take(parents), candidates[parents, slot]
    for other in range(candidates.shape[1]):
        against = candidates[parents, other]
        rivals = valid[parents, other] & (against != mine)
        heights, starts = _heights(work, vertices, np.arange(len(work)), mine, against)
        low, high = _extremes(heights, starts)
        # Equal everywhere: the first of the two stands for both.
        wins = ~rivals | (low >= 0) & ((high > 0) | (mine < against))
        clip = np.flatnonzero(rivals & (low < 0) & (high > 0))
        parts, of = _split(work.take(clip), vertices, mine[clip], against[clip], call, both=False)
        kept = np.concatenate([np.flatnonzero(wins), clip[of]])
        work = together([work.take(np.flatnonzero(wins)), parts], vertices.points)
        parents, mine = parents[kept], mine[kept]
    return work, parents
