"""The regions of a deep ReLU network on a convex polygon, or along a segment, counted exactly."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A unit cuts a polygon if its values at corners are beyond this on both sides of 0: rounding makes no regions.
ROUNDING = 1e-12


def count_regions(layers: Iterable[tuple[Floats, Floats]], corners: Floats) -> int:
    """Count the regions on which the same units are active.

    On each of its regions a network is affine. A region is therefore known by its corners, each as the values of the
    layer that has been reached; a unit whose values have both signs cuts it in two, at points between two corners.

    Parameters
    ----------
    layers
        Weights, [out, in], and biases, [out], of the hidden layers.
    corners
        [k, in]: a polygon's corners, one after the other, in a plane of the input space; two are a segment.

    Notes
    -----
    Neighbouring regions may differ by units that do not reach the output: regions of activation, as counted here, are
    at least as many as linear ones. Cost: k · in · out operations for a region and layer.
    """
    pieces = [corners]
    for weights, biases in layers:
        values = [piece @ weights.T + biases for piece in pieces]
        cut = [part for piece in values for part in _cut_by_all(piece)]
        pieces = [np.maximum(piece, 0) for piece in cut]
    return len(pieces)


def _cut_by_all(values: Floats) -> list[Floats]:
    """Cut a polygon by all units of a layer; values are [corners, units]."""
    parts = [values]
    # A unit that does not cut the whole cuts no part.
    for unit in np.flatnonzero(_is_cut(values)).tolist():
        parts = [part for piece in parts for part in _cut(piece, unit)]
    return parts


def _is_cut(values: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (values.min(axis=0) < -ROUNDING) & (values.max(axis=0) > ROUNDING)
    return found


def _cut(values: Floats, unit: int) -> list[Floats]:
    heights = values[:, unit]
    if not _is_cut(heights):
        return [values]
    following = np.roll(values, -1, axis=0)
    crossing = np.flatnonzero(heights * following[:, unit] < 0)
    here, there = heights[crossing, None], following[crossing, unit, None]
    middle = (there * values[crossing] - here * following[crossing]) / (there - here)
    middle[:, unit] = 0
    order = np.argsort(np.append(np.arange(len(values)), crossing + 0.5))
    all_corners = np.vstack([values, middle])[order]
    return [all_corners[all_corners[:, unit] >= 0], all_corners[all_corners[:, unit] <= 0]]


def attainable(width: int, depth: int, dimensions: int) -> int:
    """Return a number of regions that some network of these hidden layers has (``montufar2014number``).

    ⌊w/d⌋^{d(L−1)} Σ_{i≤d} C(w, i): each layer but the last folds the space ⌊w/d⌋ times in each of its dimensions.

    >>> attainable(4, 1, 2), attainable(4, 3, 2)
    (11, 176)
    """
    folds: int = (width // dimensions) ** (dimensions * (depth - 1))
    return folds * sum(comb(width, i) for i in range(dimensions + 1))


def folding_layers(depth: int) -> list[tuple[Floats, Floats]]:
    """Return hidden layers of four units that fold the unit square 2^L times in each direction.

    The tent t(x) = 2 max(x, 0) − 4 max(x − ½, 0) maps both halves of [0, 1] onto [0, 1]; each layer applies it to both
    coordinates of what the layer before it made. They have 4^L regions on the square.
    """
    tent = np.kron(np.eye(2), [[2.0, -4.0]])
    split, shift = np.kron(np.eye(2), [[1.0], [1.0]]), np.array([0.0, -0.5, 0.0, -0.5])
    return [(split, shift), *[(split @ tent, shift)] * (depth - 1)]
