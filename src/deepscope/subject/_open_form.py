"""What a layer of several linear maps is when it is written out in plain operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deepscope.subject._gradient_rules import Rule


@dataclass(frozen=True, eq=False)
class InnerMap:
    """A linear map inside a layer.

    Attributes
    ----------
    rule
        How its parameters' gradients follow.
    inputs
        What they follow from beside the gradient of ``outputs``, [sequences, …].
    outputs
        What it put out, [sequences, …]; it carries a gradient.
    """

    rule: Rule
    inputs: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class Opened:
    """A layer's open form: what it returns, and the linear maps that it is made of."""

    result: Any
    maps: tuple[InnerMap, ...]


class NotOpenedError(Exception):
    """There is no open form for this call of a layer; says why."""


#: ``form(module, given)`` with the call's arguments by name, defaults too.
OpenForm = Callable[[Any, Mapping[str, Any]], Opened]


def watched(tensor: Tensor) -> Tensor:
    """Let a gradient arrive at a tensor, also where it depends on nothing that has one."""
    return tensor if tensor.requires_grad else tensor.requires_grad_()
