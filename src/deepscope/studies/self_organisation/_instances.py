"""Sets of cities, and between which lengths their shortest tours lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepscope.core import UsageError, nearest
from deepscope.studies.self_organisation._local_search import search
from deepscope.studies.self_organisation._one_tree import lower_bound
from deepscope.studies.self_organisation._tours import around, length, shortest_length
from deepscope.studies.self_organisation._tsplib import Floats, Lengths, distances, read, write

#: Cities lie in a square of this side, so that a distance that is rounded to a whole number keeps six digits.
SIDE = 1e6
STRETCH = 10
#: Up to here the shortest tour is found by dynamic programming.
ENUMERATED = 12
LAYOUTS = ("random", "ellipse")


def drawn(layout: str, n: int, rng: np.random.Generator) -> Floats:
    """Draw n cities [n, 2]: uniform in the square, or at uniform angles on an ellipse along its diagonal.

    The ellipse is ``STRETCH`` times as long as wide. Along an axis of the square it would be a circle once both
    coordinates are scaled to one range.
    """
    if layout not in LAYOUTS:
        raise UsageError("unknown layout", where=layout, todo=nearest(layout, LAYOUTS))
    if layout == "random":
        return SIDE * rng.random((n, 2))
    angles = 2 * np.pi * rng.random(n)
    along, across = np.cos(angles), np.sin(angles) / STRETCH
    return SIDE / 2 * (1 + np.stack([along + across, along - across], axis=-1) / math.sqrt(2))


def instances(layout: str, n: int, count: int, kicks: int, seed: int) -> Mapping[str, Any]:
    """Return cities [count, n, 2], each set read from its TSPLIB file, and bounds of the shortest tours, [count].

    For up to 12 cities, and on the ellipse, ``lower`` = ``upper`` is the shortest length. Otherwise ``upper`` is the
    length of the tour that a local search with ``kicks`` kicks per city finds, and ``lower`` the bound by 1-trees.
    """
    rng = np.random.default_rng(seed)
    cities = np.stack([read(write(f"{layout}{n}", drawn(layout, n, rng))) for _ in range(count)])
    lengths = np.stack([distances(each) for each in cities])
    if layout == "ellipse":
        shortest = [length(each, around(where)) for each, where in zip(lengths, cities, strict=True)]
    elif n <= ENUMERATED:
        shortest = [shortest_length(each) for each in lengths]
    else:
        return {"cities": cities, **_bounds(lengths, kicks * n, rng)}
    return {"cities": cities, "lower": np.array(shortest, dtype=float), "upper": np.array(shortest, dtype=float)}


def _bounds(lengths: Lengths, kicks: int, rng: np.random.Generator) -> dict[str, Floats]:
    upper = np.array([length(each, search(each, kicks, rng)) for each in lengths], dtype=float)
    return {"lower": lower_bound(lengths, upper), "upper": upper}
