"""Two classes of points of which one goes around, or through, the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Points = Callable[[int, torch.Generator], Tensor]
_WIDTH = 0.25


def _all_around(n: int, generator: torch.Generator) -> Tensor:
    """Return an angle from each nth of the circle: independent ones leave gaps at which a graph of neighbours opens."""
    return 2 * math.pi * (torch.arange(n) + torch.rand(n, generator=generator)) / n


def _annulus(inner: float, outer: float) -> Points:
    def points(n: int, generator: torch.Generator) -> Tensor:
        angles = _all_around(n, generator)
        squares = inner**2 + (outer**2 - inner**2) * torch.rand(n, generator=generator)
        return squares.sqrt()[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)

    return points


def _solid_torus(*, turned: bool) -> Points:
    """Points within 0.25 of a circle of radius 1: around the origin, or turned and moved through that one's middle."""

    def points(n: int, generator: torch.Generator) -> Tensor:
        angles, around = _all_around(n, generator), 2 * math.pi * torch.rand(n, generator=generator)
        across = _WIDTH * torch.rand(n, generator=generator).sqrt()
        radius, height = 1 + across * around.cos(), across * around.sin()
        x, y = radius * angles.cos(), radius * angles.sin()
        return torch.stack([x + 1, height, y] if turned else [x, y, height], dim=1)

    return points


#: The first class, whose loop is judged, and the second. An annulus of either kind, and a torus, has one loop.
SHAPES: Mapping[str, tuple[Points, Points]] = {
    "annuli": (_annulus(0.5, 0.75), _annulus(1.0, 1.25)),
    "tori": (_solid_torus(turned=False), _solid_torus(turned=True)),
}


def labelled_points(shape: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return n points of each class, [2n, 2 or 3], and their classes."""
    clouds = [points(n, generator) for points in SHAPES[shape]]
    return torch.cat(clouds), torch.arange(2).repeat_interleave(n)


def circle(n: int, generator: torch.Generator) -> Tensor:
    """Return n random points of a circle."""
    return _annulus(1.0, 1.0)(n, generator)


def disc(n: int, generator: torch.Generator) -> Tensor:
    """Return n random points of a disc."""
    return _annulus(0.0, 1.0)(n, generator)
