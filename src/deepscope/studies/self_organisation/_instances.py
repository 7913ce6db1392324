"""Sets of cities, and between which lengths their shortest tours lie."""

from __future__ import annotations

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
    """Draw n cities [n, 2]: uniform in the square, or at uniform angles on an ellipse.

    The ellipse is as long as the square, and ``STRETCH`` times as long as wide.
    """
    if layout not in LAYOUTS:
        raise UsageError("unknown layout", where=layout, todo=nearest(layout, LAYOUTS))
    if layout == "random":
        return SIDE * rng.random((n, 2))
    angles = 2 * np.pi * rng.random(n)
    return SIDE / 2 * (1 + np.stack([np.cos(angles), np.sin(angles) / STRETCH], axis=-1))


def instances(layout: str, n: int, count: int, kicks: int, seed: int) -> Mapping[str, Any]:
    """Return cities [count, n, 2], each set read from its TSPLIB file, and bounds of the shortest tours, [count].

    For up to 12 cities, and on the ellipse, ``lower`` = ``upper`` is the shortest length. Otherwise ``upper`` is the
    length of the tour that a local search with ``kicks`` kicks per city finds, and ``lower`` the bound by 1-trees.
    ``misread`` is the largest difference of a coordinate that was read from the one that was written, [count].
    """
    rng = np.random.default_rng(seed)
    written = np.stack([drawn(layout, n, rng) for _ in range(count)])
    cities = np.stack([read(write(f"{layout}{n}", each)) for each in written])
    misread = np.abs(cities - written).max(axis=(1, 2))
    lengths = np.stack([distances(each) for each in cities])
    if layout == "ellipse":
        shortest = [length(each, around(where)) for each, where in zip(lengths, cities, strict=True)]
    elif n <= ENUMERATED:
        shortest = [shortest_length(each) for each in lengths]
    else:
        return {"cities": cities, "misread": misread, **_bounds(lengths, kicks * n, rng)}
    known = np.array(shortest, dtype=float)
    return {"cities": cities, "misread": misread, "lower": known, "upper": known}


def _bounds(lengths: Lengths, kicks: int, rng: np.random.Generator) -> dict[str, Floats]:
    upper = np.array([length(each, search(each, kicks, rng)) for each in lengths], dtype=float)
    return {"lower": lower_bound(lengths, upper), "upper": upper}
