"""What factorisations of layers share: their result, and convolutions that take parts of another's work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, UsageError

_CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
#: Makes a layer without drawing its weights, which would advance the global generator.
_skip_init: Callable[..., Any] = nn.utils.skip_init
#: Convolutions that can be factorised.
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, eq=False, kw_only=True)
class Factorised:
    """A layer as a product of smaller ones, to be put in its place: ``model.set_submodule(name, found.layer)``.

    Attributes
    ----------
    layer
        The smaller layers, one after the other.
    error
        ‖W − W̃‖ of the layer's weight and that of the product, the root of the sum of squares, before rounding to the
        layer's precision.
    relative_error
        The same over ‖W‖; 0 where that is 0.
    converged
        Whether the search for the factors came to its end; always so where they are computed.
    """

    layer: nn.Sequential
    error: float
    relative_error: float
    converged: bool = True


def factorised(layers: Sequence[nn.Module], weight: Tensor, error: float, *, converged: bool = True) -> Factorised:
    """Return the layers with their error."""
    norm = float(torch.linalg.vector_norm(weight))
    return Factorised(
        layer=nn.Sequential(*layers), error=error, relative_error=error / norm if norm else 0.0, converged=converged
    )


def weight_of(layer: nn.Module, kinds: tuple[type[nn.Module], ...], *, where: str) -> Tensor:
    """Return a layer's weight in float64.

    Raises
    ------
    UsageError
        The layer is of another kind, or a convolution in groups.
    MeasurementError
        A weight is not finite.
    """
    names = " or ".join(each.__name__ for each in kinds)
    if not isinstance(layer, kinds):
        raise UsageError(f"the layer is a {type(layer).__name__}", where=f"layer of {where}", todo=f"Give {names}.")
    if getattr(layer, "groups", 1) != 1:
        raise UsageError(
            f"the convolution has {layer.groups} groups",
            where=f"layer of {where}",
            todo="Give a convolution of one group: others mix few channels already.",
        )
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not bool(weight.isfinite().all()):
        raise MeasurementError("a weight is not finite", where=f"layer of {where}")
    return weight.detach().double()


def require_rank(name: str, rank: int, full: int, *, where: str) -> None:
    """Refuse a rank that is not a whole number from 1 to the full one.

    Raises
    ------
    UsageError
        Names the rank and what it may be.
    """
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= full:
        raise UsageError(
            f"{name} is {rank!r}",
            where=f"{name} of {where}",
            todo=f"Give a whole number from 1 to {full}, the full rank.",
        )


def linear(weight: Tensor, *, like: nn.Module, bias: Tensor | None = None) -> nn.Linear:
    """Return a linear layer of this weight, of another layer's precision and device."""
    layer: nn.Linear = _skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=bias is not None, **_kept(like))
    _fill(layer, weight, bias)
    return layer


def convolution(
    weight: Tensor, *, like: Convolution, axes: Sequence[int] = (), groups: int = 1, bias: Tensor | None = None
) -> Convolution:
    """Return a convolution of this weight that moves along ``axes`` as another does, and point by point elsewhere.

    That is with its stride, padding and dilation there.
    """

    def along(values: Sequence[int], otherwise: int) -> tuple[int, ...]:
        return tuple(each if axis in axes else otherwise for axis, each in enumerate(values))

    padding = like.padding if isinstance(like.padding, str) else along(like.padding, 0)
    layer: Convolution = _skip_init(
        _CONVOLUTIONS[weight.ndim],
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=along(like.stride, 1),
        padding=padding,
        dilation=along(like.dilation, 1),
        groups=groups,
        bias=bias is not None,
        padding_mode=like.padding_mode,
        **_kept(like),
    )
    _fill(layer, weight, bias)
    return layer


def dropped(singular_values: Tensor, rank: int) -> float:
    """Return the root of the sum of squares of the singular values beyond a rank."""
    return float(torch.linalg.vector_norm(singular_values[rank:]))


def joined(errors: Sequence[float]) -> float:
    """Return the error of orthogonal parts together."""
    return math.hypot(*errors)


@torch.no_grad()
def _fill(layer: nn.Linear | Convolution, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight.copy_(weight)
    if bias is not None and layer.bias is not None:
        layer.bias.copy_(bias)


def _kept(like: nn.Module) -> dict[str, Any]:
    weight = like.weight
    assert isinstance(weight, Tensor)
    return {"device": weight.device, "dtype": weight.dtype}
