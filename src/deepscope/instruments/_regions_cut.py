"""Cells cut by all units of a layer: where a unit's argument changes sign, or another candidate becomes the maximum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._regions_cells import Cells, Floats, Integers, together
from deepscope.instruments._regions_pairs import Pairs, both_signs, no_winner, with_both_signs, without_winner
from deepscope.instruments._regions_split import clipped, split
from deepscope.instruments._regions_vertices import Growth, Vertices, rounding_of

#: Where more units are left to cut cells, each unit counted for each of its cells, cutting stops: a list of them takes
#: some 16 MiB, and several are held at once.
_MOST_PAIRS = 2**21


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
        Whether all was cut; where it was not, the same has to be done again.
    full
        Whether that is because there would be more cells than are wanted.
    """

    cells: Cells
    growth: Growth
    cutting: Integers
    complete: bool
    full: bool


#: Parts of cells, each cut by the first that it is paired with, and the cells that they are of.
_Split = Callable[[Cells, Integers], tuple[Cells, Integers]]


def cut_by_signs(cells: Cells, values: Floats, call: int, most_vertices: int, most_cells: int) -> Cut:
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
        Where there are more, cutting stops; one round is made however many there are, else the next pass would begin as
        this one did.
    most_cells
        Cutting stops before there are more.

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
    kept = values[:, np.append(both, 0)]
    kept[:, units] = 0
    vertices = Vertices(cells.points, kept, np.append(tolerance[both], 0.0))
    pairs = with_both_signs(cells, vertices, units)

    def halves(work: Cells, chosen: Integers) -> tuple[Cells, Integers]:
        return split(work, vertices, chosen, np.full(len(work), units), call, both=True)

    def left(parts: Cells, pairs: Pairs) -> NDArray[np.bool_]:
        return both_signs(parts, vertices, pairs, units)

    cutting = both[np.unique(pairs.items)]
    return _cut(cells, vertices, pairs, cutting, halves, left, most_vertices, most_cells)


def cut_by_maxima(
    cells: Cells, values: Floats, windows: Integers, call: int, most_vertices: int, most_cells: int
) -> Cut:
    """Cut cells into the parts on which the same candidate of each window is the largest.

    A cell is clipped for each candidate by its differences to all others. Of candidates that are equal all over a cell
    the first stands for all.

    Parameters
    ----------
    values
        [v, candidates], at all vertices.
    windows
        [windows, m], the candidates of each; −1 where it has fewer.
    cells, call, most_vertices, most_cells
        As for ``cut_by_signs``.
    """
    tolerance = rounding_of(values.min(axis=0), values.max(axis=0))
    valid = windows >= 0
    # An absent candidate is its window's first once more.
    windows = np.where(valid, windows, windows[np.arange(len(windows)), valid.argmax(axis=1)][:, None])
    pairs = without_winner(cells, Vertices(cells.points, values, tolerance), windows)
    # Most windows of a large layer have one winner all over.
    used, windows = _renumbered(windows, pairs)
    vertices = Vertices(cells.points, values[:, used], tolerance[used])

    def winners(work: Cells, chosen: Integers) -> tuple[Cells, Integers]:
        return clipped(work, vertices, windows[chosen], valid[chosen], call)

    def left(parts: Cells, pairs: Pairs) -> NDArray[np.bool_]:
        return no_winner(parts, vertices, windows, pairs)

    return _cut(cells, vertices, pairs, np.unique(pairs.items), winners, left, most_vertices, most_cells)


def _cut(
    cells: Cells,
    vertices: Vertices,
    pairs: Pairs,
    cutting: Integers,
    split_by: _Split,
    left: Callable[[Cells, Pairs], NDArray[np.bool_]],
    most_vertices: int,
    most_cells: int,
) -> Cut:
    """Cut each cell by the first that it is paired with, and its parts by those that are left, round by round."""
    done = [cells.take(np.flatnonzero(pairs.counts == 0))]
    active = np.flatnonzero(pairs.counts)
    work, pairs = cells.take(active), pairs.take(active)
    room, full = most_cells - len(cells), False
    while len(work):
        parts, parents = split_by(work, pairs.items[pairs.starts])
        n_fit = int((np.cumsum(np.bincount(parents, minlength=len(work)) - 1) <= room).sum())
        if n_fit < len(work):
            done.append(parts.take(np.flatnonzero(parents < n_fit)))
            work, full = work.take(np.arange(n_fit, len(work))), True
            break
        room -= len(parts) - len(work)
        pairs = pairs.less_first().take(parents)
        pairs = pairs.keep(left(parts, pairs))
        done.append(parts.take(np.flatnonzero(pairs.counts == 0)))
        uncut = np.flatnonzero(pairs.counts)
        work, pairs = parts.take(uncut), pairs.take(uncut)
        if vertices.count > most_vertices or len(pairs.items) > _MOST_PAIRS:
            break
    return Cut(together([*done, work], vertices.points), vertices.growth, cutting, not len(work), full)


def _renumbered(windows: Integers, pairs: Pairs) -> tuple[Integers, Integers]:
    """Return the candidates of the windows that are paired, and all windows by their places among these."""
    used = np.unique(windows[np.unique(pairs.items)])
    # Of windows that are not paired no candidate is asked for.
    places = np.zeros(windows.max() + 1, dtype=np.int64)
    places[used] = np.arange(len(used))
    return used, places[windows]
