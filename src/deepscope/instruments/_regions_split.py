"""Cells cut in two, or clipped to where one of several functions is the largest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._regions_cells import Cells, Floats, Integers, ranges, together
from deepscope.instruments._regions_vertices import Vertices


def heights_of(
    cells: Cells, vertices: Vertices, owners: Integers, first: Integers, second: Integers
) -> tuple[Floats, Integers]:
    """Return the heights at all corners of the cells that are named, one after the other, and where each begins."""
    counts = cells.counts[owners]
    corners = cells.corners[ranges(cells.starts[owners], counts)]
    heights = vertices.heights(corners, np.repeat(first, counts), np.repeat(second, counts))
    return heights, np.cumsum(counts) - counts


def extremes(heights: Floats, starts: Integers) -> tuple[Floats, Floats]:
    """Return the least and the largest of the heights from each of the starts to the next."""
    if not len(starts):
        return np.zeros(0), np.zeros(0)
    return np.minimum.reduceat(heights, starts), np.maximum.reduceat(heights, starts)


def split(
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


def clipped(
    cells: Cells, vertices: Vertices, candidates: Integers, valid: NDArray[np.bool_], call: int
) -> tuple[Cells, Integers]:
    """Return the parts of cells on which each of their candidates, [n, m], is the largest; and their cells."""
    parents, slot = np.nonzero(valid)
    work, mine = cells.take(parents), candidates[parents, slot]
    for other in range(candidates.shape[1]):
        against = candidates[parents, other]
        rivals = valid[parents, other] & (against != mine)
        heights, starts = heights_of(work, vertices, np.arange(len(work)), mine, against)
        low, high = extremes(heights, starts)
        # Equal everywhere: the first of the two stands for both.
        wins = ~rivals | (low >= 0) & ((high > 0) | (mine < against))
        clip = np.flatnonzero(rivals & (low < 0) & (high > 0))
        parts, of = split(work.take(clip), vertices, mine[clip], against[clip], call, both=False)
        kept = np.concatenate([np.flatnonzero(wins), clip[of]])
        work = together([work.take(np.flatnonzero(wins)), parts], vertices.points)
        parents, mine = parents[kept], mine[kept]
    return work, parents
