"""Points in the space of parameters, made one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.instruments._parameter_space import Tensors


class Points(ABC):
    """A list of points; each is made when it is asked for, into memory that the next one overwrites."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of points."""

    @abstractmethod
    def at(self, index: int) -> Tensors:
        """Return the tensors of one point by name."""


class Listed(Points):
    """Points given as tensors, or as functions that make them when it is their turn."""

    def __init__(self, points: Sequence[Tensors | Callable[[], Tensors]]) -> None:
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def at(self, index: int) -> Tensors:
        """Return the tensors of one point by name."""
        point = self._points[index]
        return point() if callable(point) else point


class Affine(Points):
    r"""Points :math:`\theta_0 + \sum_j c_{ij} d_j`.

    Points whose coefficients differ in the last one only should follow each other: what they share is made once.

    Parameters
    ----------
    origin
        θ₀, by name.
    directions
        dⱼ, by name; a tensor that a direction lacks does not move along it.
    coefficients
        c, [points, directions].
    """

    def __init__(self, origin: Tensors, directions: Sequence[Tensors], coefficients: NDArray[np.float64]) -> None:
        self.origin, self.directions, self.coefficients = origin, tuple(directions), coefficients
        self._shared: Tensors = {}
        self._shared_for: tuple[float, ...] | None = None
        self._made = {name: torch.empty_like(origin[name]) for name in self.moving}

    @property
    def moving(self) -> list[str]:
        """Names of the tensors that move along any direction."""
        return [name for name in self.origin if any(name in direction for direction in self.directions)]

    def __len__(self) -> int:
        return len(self.coefficients)

    def at(self, index: int, *, without: Collection[str] = ()) -> Tensors:
        """Return the tensors of one point by name; those ``without`` which it can do stay at the origin."""
        *before, last = (float(each) for each in self.coefficients[index])
        self._share(tuple(before))
        made = {name: out for name, out in self._made.items() if name not in without}
        for name, out in made.items():
            direction = self.directions[-1].get(name)
            shared = self._shared[name]
            out.copy_(shared) if direction is None else torch.add(shared, direction, alpha=last, out=out)
        return {**self.origin, **made}

    def _share(self, before: tuple[float, ...]) -> None:
        if before == self._shared_for:
            return
        for name in self._made:
            total = self.origin[name]
            for factor, direction in zip(before, self.directions[:-1], strict=True):
                if name in direction:
                    total = torch.add(total, direction[name], alpha=factor)
            self._shared[name] = total
        self._shared_for = before
