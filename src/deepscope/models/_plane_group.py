"""The groups of quarter turns and mirrorings of the plane, and how they move pixels and filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from deepscope.core import UsageError, nearest

Matrix = tuple[tuple[int, int], tuple[int, int]]

_IDENTITY: Matrix = ((1, 0), (0, 1))
# Of rows and columns from the centre: a quarter turn as ``torch.rot90`` makes it, and a swap of left and right.
_TURN: Matrix = ((0, -1), (1, 0))
_MIRROR: Matrix = ((1, 0), (0, -1))


@dataclass(frozen=True)
class PlaneGroup:
    """A finite group of turns and mirrorings that map a square grid onto itself.

    With translations ``"p4"`` is the group of the four quarter turns r⁰, …, r³, ``"p4m"`` that of the eight elements
    rⁱ, rⁱm with a mirroring m, and ``"p1"`` holds translations alone. Elements are counted 0, 1, …, the identity first.
    Source: ``cohen2016group``.

    Attributes
    ----------
    name
        As crystallography has it.
    matrices
        Each element as the matrix that it applies to (row, column), counted from the centre of the grid.

    Examples
    --------
    >>> group = plane_group("p4m")
    >>> group.order, group.product(1, 3), group.inverse(1)
    (8, 0, 3)
    """

    name: str
    matrices: tuple[Matrix, ...]

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.matrices)

    def product(self, first: int, second: int) -> int:
        """Return the element that does ``second``, then ``first``."""
        return self.matrices.index(_product(self.matrices[first], self.matrices[second]))

    def inverse(self, element: int) -> int:
        """Return the element that undoes one."""
        return next(other for other in range(self.order) if self.product(element, other) == 0)

    def pixel_table(self, size: int) -> Tensor:
        """Return for each element g and pixel u of a grid of size×size the index of g⁻¹u, [order, size²].

        A picture f is moved to (L_g f)(u) = f(g⁻¹u) by ``f.flatten(-2)[..., table[g]]``.
        """
        # Twice the distance from the centre, which is whole for even sizes as well.
        line = 2 * torch.arange(size) - (size - 1)
        places = torch.cartesian_prod(line, line)
        tables = []
        for element in range(self.order):
            moved = (places @ torch.tensor(self.matrices[self.inverse(element)]).T + size - 1) // 2
            tables.append(moved[:, 0] * size + moved[:, 1])
        return torch.stack(tables)

    def filter_table(self, size: int) -> Tensor:
        """Return for each element g, and each element h and pixel u, the index of (g⁻¹h, g⁻¹u), [order, order · size²].

        A filter ψ on the group is moved to (L_g ψ)(h, u) = ψ(g⁻¹h, g⁻¹u) by ``ψ.flatten(-3)[..., table[g]]``.
        """
        pixels = self.pixel_table(size)
        moved = [[self.product(self.inverse(g), h) for h in range(self.order)] for g in range(self.order)]
        return (torch.tensor(moved)[:, :, None] * size**2 + pixels[:, None, :]).flatten(1)

    def move_image(self, x: Tensor, element: int) -> Tensor:
        """Return an image that is turned or mirrored, [..., size, size].

        Raises
        ------
        UsageError
            The image is not square.
        """
        size = _side(x)
        return x.flatten(-2)[..., self.pixel_table(size)[element].to(x.device)].view_as(x)

    def move_features(self, x: Tensor, element: int) -> Tensor:
        """Return features on the group, [..., order, size, size], as they are of an image that is turned or mirrored.

        Raises
        ------
        UsageError
            They are not square, or not of this group.
        """
        size = _side(x)
        if x.ndim < 3 or x.shape[-3] != self.order:
            what = f"the features are {list(x.shape)}"
            raise UsageError(what, where=self.name, todo=f"Give [..., {self.order}, size, size].")
        return x.flatten(-3)[..., self.filter_table(size)[element].to(x.device)].view_as(x)


def _side(x: Tensor) -> int:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        what = f"the picture is {list(x.shape)}"
        raise UsageError(
            what, where="PlaneGroup", todo="Give [..., size, size]: only a square fits itself when turned."
        )
    return x.shape[-1]


def _product(a: Matrix, b: Matrix) -> Matrix:
    rows = [tuple(sum(a[i][k] * b[k][j] for k in range(2)) for j in range(2)) for i in range(2)]
    return (rows[0][0], rows[0][1]), (rows[1][0], rows[1][1])


def _turns(start: Matrix) -> tuple[Matrix, ...]:
    found = [start]
    for _ in range(3):
        found.append(_product(_TURN, found[-1]))
    return tuple(found)


_GROUPS = {"p1": (_IDENTITY,), "p4": _turns(_IDENTITY), "p4m": _turns(_IDENTITY) + _turns(_MIRROR)}


@cache
def plane_group(name: str) -> PlaneGroup:
    """Return the group ``"p1"``, ``"p4"`` or ``"p4m"``.

    Raises
    ------
    UsageError
        No group has this name.

    Examples
    --------
    >>> plane_group("p4").order
    4
    """
    try:
        return PlaneGroup(name, _GROUPS[name])
    except KeyError:
        raise UsageError("unknown group", where=name, todo=nearest(name, _GROUPS)) from None
