"""What sharpness becomes when layers are rescaled so that the network's function stays the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor

from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.instruments._curvature_outputs import floating

#: A power of two, so that no number is rounded on the way.
FACTOR = 2.0
#: Pairs of layers that are tried.
_MOST_PAIRS = 50
#: Outputs that differ by less are the same.
_SAME = 1e-4
#: A measure that changes by less, or by what it is uncertain, does not change.
_UNCHANGED = 0.02


@dataclass(frozen=True)
class Measured:
    """A value and what it is uncertain by; None where it could not be had."""

    value: float | None
    error: float


@dataclass(frozen=True, kw_only=True)
class Rescaled:
    """One measure before and after.

    Attributes
    ----------
    name
        Which.
    before, after
        Its value; None where it could not be had.
    invariant
        Whether it stayed the same; None where that cannot be said.
    """

    name: str
    before: float | None
    after: float | None
    invariant: bool | None


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """A rescaling that leaves the network's function unchanged, and what it does to each measure.

    Attributes
    ----------
    status
        ``"ok"``, or why there is none.
    first, second
        The layer whose parameters are multiplied by the factor, and the one whose weights are divided by it.
    factor
        By how much.
    measures
        What each measure was and became.
    """

    status: str
    first: str = ""
    second: str = ""
    factor: float = FACTOR
    measures: tuple[Rescaled, ...] = ()


def find_rescaling(loss: MeanLoss, pieces: Sequence[Piece]) -> tuple[str, str, Tensor] | None:
    """Return two layers and the rescaled parameters [n] at which the network puts out the same; None without any.

    All of a layer's parameters times α and the next layer's weights over α are the same function where what lies
    between is positively homogeneous, like ReLU (``dinh2017sharp``). Layers that follow one another in the model are
    tried, and the outputs compared; nothing is assumed of what lies between.
    """
    layers = list(loss.layers.items())
    piece = pieces[0]
    with torch.no_grad():
        before = _outputs(loss, loss.point, piece)
        for (first, ours), (second, theirs) in islice(pairwise(layers), _MOST_PAIRS):
            weights = [index for index in theirs if len(loss.shapes[index]) >= 2]
            if not weights:
                continue
            point = loss.point.clone()
            parts = loss.split(point)
            for index in ours:
                parts[index].mul_(FACTOR)
            for index in weights:
                parts[index].div_(FACTOR)
            if not torch.equal(point, loss.point) and _same(before, _outputs(loss, point, piece)):
                return first, second, point
    return None


def compare(before: Mapping[str, Measured], after: Mapping[str, Measured]) -> tuple[Rescaled, ...]:
    """Set measures before and after side by side."""
    return tuple(_compared(name, old, after[name]) for name, old in before.items())


def _compared(name: str, old: Measured, new: Measured) -> Rescaled:
    invariant = None
    if old.value is not None and new.value is not None:
        change = abs(new.value - old.value)
        if change <= _UNCHANGED * max(abs(old.value), abs(new.value)):
            invariant = True
        elif change > 2 * (old.error + new.error):
            invariant = False
    return Rescaled(name=name, before=old.value, after=new.value, invariant=invariant)


def _outputs(loss: MeanLoss, point: Tensor, piece: Piece) -> list[Tensor]:
    with torch.enable_grad():
        values, _ = floating(loss.outputs(loss.leaves(point), piece))
    return [value.detach() for value in values]


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(bool(torch.isfinite(b).all() and (a - b).abs().max() <= _SAME * a.abs().max()) for a, b in pairs)
