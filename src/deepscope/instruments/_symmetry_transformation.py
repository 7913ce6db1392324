"""What a transformation does to inputs, to layers and to outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LayerPlace:
    """Where the positions of a layer's output lie.

    Attributes
    ----------
    name
        The layer; ``""`` for the network's output.
    positions
        The output's dimensions that are positions (height and width, time), first to last; empty where it has none.
    strides
        How many positions of the input one step along each of them is; None where it is not known.
    real
        Boolean [n, positions]: False where a position is padding; None without a mask.
    """

    name: str
    positions: tuple[int, ...] = ()
    strides: tuple[float, ...] | None = None
    real: Tensor | None = field(default=None, repr=False)


#: ``move(tensor, place)``: the transformed tensor; None where the transformation does not act on it.
Move = Callable[[Tensor, LayerPlace], Tensor | None]


@dataclass(frozen=True, eq=False)
class Transformation:
    """A transformation g of inputs, and how a symmetric network's outputs would follow it.

    Attributes
    ----------
    name
        What it does: ``"turned by 90°"``.
    act
        ``act(inputs) -> inputs`` of a batch: a new object; what it is given stays as it is.
    on_output
        ρ(g): how the network's output follows. Unless given, it follows as a layer does (``on_layer``), or else not at
        all: what is measured then is invariance.
    on_layer
        ``on_layer(output, place)``: how a layer's output follows, or None where it cannot be said; ``place`` is a
        ``LayerPlace``. For a group convolution whose features have an axis of group elements: permute that axis too.

    Examples
    --------
    >>> import torch
    >>> mirrored = Transformation("mirrored", lambda x: x.flip(-1), on_output=lambda y: -y)
    >>> mirrored.act(torch.tensor([[1.0, 2.0]])).tolist()
    [[2.0, 1.0]]
    """

    name: str
    act: Callable[[Any], Any]
    on_output: Callable[[Tensor], Tensor] | None = None
    on_layer: Move | None = None
    #: Where a moved output can be compared with: 1 inside, 0 outside; what an interpolated rotation moves in from
    #: outside the picture is not known.
    window: Callable[[Tensor, LayerPlace], Tensor] | None = field(default=None, repr=False)
    #: The way back, of one that loses something by interpolation.
    undo: Callable[[Any], Any] | None = field(default=None, repr=False)

    def follow(self, tensor: Tensor, place: LayerPlace, *, is_output: bool = False) -> Tensor | None:
        """Return ρ(g) of a layer's output, or of the network's; None where it cannot be said."""
        if is_output and self.on_output is not None:
            return self.on_output(tensor)
        return self.on_layer(tensor, place) if self.on_layer is not None else None


@dataclass(frozen=True, eq=False)
class Family:
    """Transformations of one kind.

    Attributes
    ----------
    name
        ``"rotations"``; a user's transformation is its own family.
    members
        The transformations.
    status
        ``"ok"``, or what is not among them and why.
    """

    name: str
    members: tuple[Transformation, ...]
    status: str = "ok"
