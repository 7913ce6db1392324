"""The loop of a cloud of points, seen at the scale of landmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from deepscope.linalg import betti_numbers, farthest_points, geodesic_distances, persistence, point_distances

#: Nearest points that each is joined to.
_NEIGHBOURS = 8


class Shape(NamedTuple):
    """Parts of a cloud, loops among its landmarks, and the longest loop's bar over the diameter."""

    parts: int
    loops: int
    bar: float


def shape_of(points: Tensor, landmarks: int) -> Shape:
    """Measure a cloud: its parts by straight distances, its loops by those along the graph of eight neighbours."""
    straight = point_distances(points)
    D = geodesic_distances(straight, _NEIGHBOURS)
    chosen = farthest_points(D, landmarks).indices
    found = persistence(D[np.ix_(chosen, chosen)], distances=True)
    # A cloud of one point has no diameter, and no loop.
    bar = found.longest(1)
    return Shape(betti_numbers(persistence(straight, 0, distances=True))[0], betti_numbers(found)[1], bar or 0.0)
