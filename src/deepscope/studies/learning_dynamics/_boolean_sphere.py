"""Twelve bits on a sphere: all patterns, and a rule for them that rotations of the sphere leave as it is."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional

#: Number of bits.
BITS = 12


def icosahedron() -> Tensor:
    """Return twelve points spread evenly over the unit sphere, [12, 3], float64: the corners of an icosahedron.

    >>> points = icosahedron()
    >>> sorted(set((points @ points.T).flatten().mul(5**0.5).round(decimals=9).tolist()))
    [-2.236067977, -1.0, 1.0, 2.236067977]
    """
    golden = (1 + math.sqrt(5)) / 2
    rectangle = [(0.0, a, b * golden) for a, b in itertools.product((-1, 1), repeat=2)]
    corners = [[point[-turn], point[1 - turn], point[2 - turn]] for turn in range(3) for point in rectangle]
    points = torch.tensor(corners, dtype=torch.float64)
    return functional.normalize(points, dim=1)


def boolean_patterns() -> tuple[Tensor, Tensor]:
    """Return all 4,096 patterns of twelve bits, as −1 and 1, and their classes.

    The bits b_i of a pattern switch points u_i of a sphere on (``icosahedron``). Its class is whether
    f(b) = Σ_ij b_i b_j exp(u_i · u_j), which is smooth in the points and unchanged by rotations, is above its median:
    the kind of rule of ``shwartzziv2017opening``, whose own table of values is not at hand.

    Returns
    -------
    patterns, classes
        [4096, 12] float64, and [4096] of 0 and 1.

    Examples
    --------
    >>> patterns, classes = boolean_patterns()
    >>> len(patterns.unique(dim=0)), round(float(classes.double().mean()), 3)
    (4096, 0.468)
    """
    bits = (torch.arange(2**BITS)[:, None] >> torch.arange(BITS)) & 1
    on = bits.double()
    points = icosahedron()
    # Patterns that a rotation turns into each other have the same value but for rounding.
    strength = torch.einsum("ni,ij,nj->n", on, (points @ points.T).exp(), on).round(decimals=9)
    return 2 * on - 1, (strength > strength.quantile(0.5)).long()
