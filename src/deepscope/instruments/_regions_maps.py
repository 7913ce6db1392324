"""The affine maps that a network is on its cells, and how many of them differ."""

from __future__ import annotations

import numpy as np

from deepscope.instruments._regions_cells import Cells, Floats

#: Maps are told apart by so many random sums of their outputs: two that differ agree in all of them with probability 0.
_SUMS = 4
#: Outputs of a row that are taken at once.
_BLOCK = 256
#: A cell whose area is less than this share of the extent times its longest edge is too thin for its map: values known
#: to 1e-14 give slopes to 1e-9 of the outputs' largest,
_THIN = 1e-5
#: and maps that agree to this share of it are one.
_SAME = 1e-7


def maps_of(cells: Cells, outputs: Floats, extent: float) -> tuple[Floats, Floats]:
    """Return the slope of each cell's map, and what tells its map from others.

    Parameters
    ----------
    cells
        n of them.
    outputs
        [v, c], at their vertices.
    extent
        Of the slice, in coordinates.

    Returns
    -------
    slopes
        [n], the Frobenius norm of the map's derivative by coordinates.
    marks
        [n, 4·(d + 1)], four random sums of the map's outputs at reference points; NaN where the cell is too thin.
    """
    middles = cells.means(cells.points)
    apart = cells.places - np.repeat(middles, cells.counts, axis=0)
    spread = np.add.reduceat(apart[:, :, None] * apart[:, None, :], cells.starts)
    inverse = np.linalg.pinv(spread, hermitian=True)
    weights = np.einsum("kij,kj->ki", np.repeat(inverse, cells.counts, axis=0), apart)

    def derivative(values: Floats) -> Floats:
        """Return [n, d, values] of the affine functions that have these values, [v, …], at the corners."""
        found: Floats = np.add.reduceat(weights[:, :, None] * values[cells.corners][:, None, :], cells.starts)
        return found

    squares = np.zeros(len(cells))
    for start in range(0, outputs.shape[1], _BLOCK):
        squares += (derivative(outputs[:, start : start + _BLOCK]) ** 2).sum(axis=(1, 2))
    mix = np.random.default_rng(0).standard_normal((outputs.shape[1], _SUMS)) / outputs.shape[1] ** 0.5
    mixed = outputs @ mix
    slopes = derivative(mixed)
    references = extent * np.vstack([np.zeros(middles.shape[1]), np.eye(middles.shape[1])])
    off = references[None] - middles[:, None]
    marks = cells.means(mixed)[:, None] + np.einsum("nri,nic->nrc", off, slopes)
    marks[_thickness(cells) < _THIN * extent] = np.nan
    return np.sqrt(squares), marks.reshape(len(cells), -1)


def distinct(marks: Floats) -> tuple[int, int]:
    """Return how many maps differ, and of how many cells none is known, from what ``maps_of`` returned of all.

    >>> distinct(np.array([[0.0, 1.0], [1e-12, 1.0], [0.0, 2.0], [np.nan, 0.0]]))
    (2, 1)
    """
    known = ~np.isnan(marks).any(axis=1)
    marks = marks[known]
    if not len(marks):
        return 0, int((~known).sum())
    tolerance = _SAME * max(float(np.abs(marks).max()), np.finfo(float).tiny)
    group = np.zeros(len(marks), dtype=np.int64)
    for column in marks.T:
        order = np.lexsort((column, group))
        new = (np.diff(group[order]) != 0) | (np.diff(column[order]) > tolerance)
        group[order] = np.concatenate([[0], np.cumsum(new)])
    return int(group.max()) + 1, int((~known).sum())


def _thickness(cells: Cells) -> Floats:
    """[n], a length of which each cell has at least half in every direction: lengths, or areas over longest edges."""
    if cells.points.shape[1] == 1:
        return cells.sizes()
    longest = np.maximum.reduceat(cells.edges(), cells.starts)
    return cells.sizes() / np.maximum(longest, np.finfo(float).tiny)
