"""How a tensor is laid out: the matrices of their own that it stacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from deepscope.subject._derived import Derived


@dataclass(frozen=True, kw_only=True)
class Part:
    """A matrix of its own within a tensor that stacks several.

    Attributes
    ----------
    name
        What it does: ``query``, ``forget`` …
    view
        Shape in which the tensor is seen first, such as [heads, 3, head_dim, in] for interleaved heads.
    dim, start, length
        The dimension of that view along which the parts stand, where this one begins, and how much of it is this part.
    """

    name: str
    view: tuple[int, ...]
    dim: int
    start: int
    length: int

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""
        sizes = [*self.view[: self.dim], self.length, *self.view[self.dim + 1 :]]
        return math.prod(sizes[:-1]), sizes[-1]

    def of(self, tensor: Tensor) -> Tensor:
        """Return the part, [rows, cols]: a view of the tensor where its strides allow one."""
        return tensor.reshape(self.view).narrow(self.dim, self.start, self.length).reshape(self.shape)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a layer, a name or a config tells about how a tensor is laid out.

    Attributes
    ----------
    parts
        The matrices that it stacks, in order; empty where it is one, or where its split is not known.
    heads
        The matrices of single attention heads that it stacks, in order; empty where their number is not known.
    why_whole
        Why a tensor that stacks several matrices cannot be split.
    groups
        Groups of a convolution, along its first dimension; 1 also where they are not known.
    factor_of
        Name of the matrix of which the tensor is only a factor; empty where the network uses the tensor itself.
    derived
        Matrices that the network makes of this tensor and of others.
    companion
        What the tensor is to another beside it, such as the scale of quantised values; empty where it is none.
    """

    parts: tuple[Part, ...] = ()
    heads: tuple[Part, ...] = ()
    why_whole: str = ""
    groups: int = 1
    factor_of: str = ""
    derived: tuple[Derived, ...] = ()
    companion: str = ""


#: One matrix, as far as is known.
WHOLE = Layout()


def stacked(names: Sequence[str], view: tuple[int, ...], dim: int, lengths: Sequence[int] = ()) -> tuple[Part, ...]:
    """Return parts that stand one after another along a dimension, of equal length unless lengths are given.

    >>> [part.shape for part in stacked(("key", "value"), (6, 2), 0)]
    [(3, 2), (3, 2)]
    """
    lengths = lengths or [view[dim] // len(names)] * len(names)
    starts = [sum(lengths[:place]) for place in range(len(names))]
    return tuple(
        Part(name=name, view=view, dim=dim, start=start, length=length)
        for name, start, length in zip(names, starts, lengths, strict=True)
    )
