"""Convex cells of a square or a segment, cut where affine functions change sign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What made an edge of the slice's own border.
BORDER = -1


@dataclass(frozen=True, eq=False)
class Cells:
    """Convex cells: segments of a line, or polygons of a plane.

    Attributes
    ----------
    points
        [v, d], coordinates of all vertices; d is 1 or 2.
    corners
        [k], the cells' corners one cell after the other, as numbers of vertices; those of a polygon in cyclic order.
    counts
        [n], how many of them each cell has.
    made_by
        [k], for a polygon the call that made the edge from this corner to the next, for a segment the one that made
        the corner; ``BORDER`` for the slice's own.
    """

    points: Floats
    corners: Integers
    counts: Integers
    made_by: Integers

    @classmethod
    def whole(cls, dimensions: int, extent: float) -> Cells:
        """Return the slice uncut: the segment from 0 to ``extent``, or the square of half-side ``extent``."""
        points = np.array([[0.0], [1.0]] if dimensions == 1 else [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        n = len(points)
        return cls(extent * points, np.arange(n), np.array([n]), np.full(n, BORDER))

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> Integers:
        """[n], where each cell's corners begin."""
        return np.cumsum(self.counts) - self.counts

    @property
    def places(self) -> Floats:
        """[k, d], coordinates of the corners."""
        return self.points[self.corners]

    def take(self, which: Integers) -> Cells:
        """Return some of the cells, over the same vertices."""
        within = ranges(self.starts[which], self.counts[which])
        return Cells(self.points, self.corners[within], self.counts[which], self.made_by[within])

    def alone(self, which: Integers) -> Cells:
        """Return some of the cells, over vertices of their own."""
        some = self.take(which)
        used, corners = np.unique(some.corners, return_inverse=True)
        return Cells(self.points[used], corners.reshape(-1), some.counts, some.made_by)

    def following(self) -> Integers:
        """[k], the place in ``corners`` of the next corner of the same cell, the last's being its first."""
        following = np.arange(1, len(self.corners) + 1)
        following[self.starts + self.counts - 1] = self.starts
        return following

    def means(self, values: Floats) -> Floats:
        """Return the mean over each cell's corners of what belongs to vertices, [v, …] to [n, …]."""
        counts = self.counts.reshape(-1, *[1] * (values.ndim - 1))
        found: Floats = np.add.reduceat(values[self.corners], self.starts, axis=0) / counts
        return found

    def sizes(self) -> Floats:
        """[n], lengths or areas, in coordinates."""
        here = self.places
        if here.shape[1] == 1:
            found: Floats = np.abs(here[1::2, 0] - here[::2, 0])
            return found
        # From a corner of its own, so that the area of a small cell is not lost in products of far coordinates.
        here = here - np.repeat(here[self.starts], self.counts, axis=0)
        there = here[self.following()]
        return 0.5 * np.abs(np.add.reduceat(here[:, 0] * there[:, 1] - here[:, 1] * there[:, 0], self.starts))

    def edges(self) -> Floats:
        """[k], lengths of the polygons' edges, in coordinates."""
        here = self.places
        found: Floats = np.linalg.norm(here[self.following()] - here, axis=1)
        return found


def together(parts: list[Cells], points: Floats) -> Cells:
    """Return cells over the same vertices as one."""
    return Cells(
        points,
        np.concatenate([each.corners for each in parts]),
        np.concatenate([each.counts for each in parts]),
        np.concatenate([each.made_by for each in parts]),
    )


def joined(parts: list[Cells]) -> Cells:
    """Return cells over vertices of their own as one."""
    before = np.cumsum([0, *(len(each.points) for each in parts[:-1])])
    return Cells(
        np.concatenate([each.points for each in parts]),
        np.concatenate([each.corners + start for each, start in zip(parts, before.tolist(), strict=True)]),
        np.concatenate([each.counts for each in parts]),
        np.concatenate([each.made_by for each in parts]),
    )


def chunks(cells: Cells, most_vertices: int) -> Iterator[Cells]:
    """Split cells into chunks of neighbours that have at most so many vertices, or are one cell."""
    middle = cells.means(cells.points)
    low = middle.min(axis=0)
    width = np.maximum(middle.max(axis=0) - low, np.finfo(float).tiny)
    # Strips of a sixteenth: cells of a chunk share most of their vertices.
    order = np.lexsort((middle[:, -1], np.floor(16 * (middle[:, 0] - low[0]) / width[0])))
    group = np.cumsum(cells.counts[order]) // max(most_vertices, 1)
    for part in np.split(order, np.flatnonzero(np.diff(group)) + 1):
        yield cells.alone(part)


def ranges(starts: Integers, counts: Integers) -> Integers:
    """Return start, start + 1, … for each of the starts, as many as counted.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    found: Integers = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return found
