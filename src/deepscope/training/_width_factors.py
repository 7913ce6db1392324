"""How initial weights and learning rates change with a network's width in maximal-update parametrisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from deepscope.core import UsageError, nearest

Kind = Literal["input", "hidden", "output", "fixed"]
#: Optimisers whose updates have a given size whatever that of the gradient, and those whose updates grow with it.
Rule = Literal["adam", "sgd"]

_CONVOLUTION = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
#: Layers whose matrices are [fan-out, fan-in, …].
_OUT_IN = (nn.Linear, _CONVOLUTION, *_RECURRENT, nn.MultiheadAttention)


@dataclass(frozen=True, kw_only=True)
class WidthFactors:
    """What one tensor is multiplied by to be that of a wider network.

    Attributes
    ----------
    kind
        ``"hidden"`` where fan-in and fan-out grow with the width, ``"input"`` where only the fan-out does (biases and
        gains too), ``"output"`` where only the fan-in does, ``"fixed"`` where neither does.
    fan_in, fan_out
        How many times those of the base; 1 where they do not grow.
    drawn
        Torch draws the tensor from a variance that falls as the inverse of this; so many times that of the base.
    initial, rate
        Factors on the initial values and on the learning rate.
    """

    kind: Kind
    fan_in: float
    fan_out: float
    drawn: float
    initial: float
    rate: float


def width_factors(
    network: nn.Module,
    base: nn.Module,
    *,
    optimizer: Rule = "adam",
    fan_in_axes: Mapping[str, int | None] | None = None,
) -> dict[str, WidthFactors]:
    """Return the factors of each parameter of a network, by name, from its shapes beside those of a base.

    See ``maximal_update`` for the arguments, what is computed, and what is refused.

    Examples
    --------
    >>> network, base = (nn.Sequential(nn.Linear(3, n), nn.Linear(n, n), nn.Linear(n, 2)) for n in (64, 16))
    >>> {name: (each.kind, each.initial, each.rate) for name, each in width_factors(network, base).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'0.weight': ('input', 1.0, 1.0), '0.bias': ('input', 1.0, 1.0),
     '1.weight': ('hidden', 1.0, 0.25), '1.bias': ('input', 2.0, 1.0),
     '2.weight': ('output', 0.5, 0.25), '2.bias': ('fixed', 2.0, 1.0)}
    """
    if optimizer not in ("adam", "sgd"):
        raise UsageError(
            f"unknown optimizer {optimizer!r}",
            where="optimizer of maximal_update",
            todo=f'{nearest(str(optimizer), ("adam", "sgd"))} "adam" is right for all that divide by the size of the '
            'gradient (AdamW, RMSprop, Lion), "sgd" for momentum.',
        )
    for name, each in (("network", network), ("base", base)):
        if not isinstance(each, nn.Module):
            raise UsageError(
                f"{name} is a {type(each).__name__}", where="maximal_update", todo="Give the network and its base."
            )
    axes = dict(fan_in_axes or {})
    shapes = _matched(network, base, axes)
    found: dict[str, WidthFactors] = {}
    names: dict[int, str] = {}
    for name, module, parameter in _parameters(network):
        ratios = tuple(n / b for n, b in zip(parameter.shape, shapes[name], strict=True))
        fans = _fans(name, module, ratios, parameter, axes)
        factors = _factors(*fans, _drawn(module, base.get_submodule(name.rpartition(".")[0])), optimizer)
        first = names.setdefault(id(parameter), name)
        if first == name:
            found[name] = factors
        elif found[first] != factors:
            raise UsageError(
                f"the tensor is {found[first].kind} as {first} and {factors.kind} as {name}",
                where=f"{name} of maximal_update",
                todo="Untie the two: what is shared cannot have two scales without a factor in the forward pass.",
            )
    return found


def _factors(fan_in: float, fan_out: float, drawn: float | None, optimizer: Rule) -> WidthFactors:
    """Return the table's line for one tensor."""
    kind: Kind = ("hidden" if fan_out != 1 else "output") if fan_in != 1 else ("input" if fan_out != 1 else "fixed")
    drawn = fan_in if drawn is None else drawn
    # One root, so that a layer that torch draws as wanted is left alone to the last bit.
    initial = math.sqrt(drawn / fan_in)
    return WidthFactors(
        kind=kind,
        fan_in=fan_in,
        fan_out=fan_out,
        drawn=drawn,
        initial=initial / math.sqrt(fan_in) if kind == "output" else initial,
        rate=(1.0 if optimizer == "adam" else fan_out) / fan_in,
    )


def _fans(
    name: str, module: nn.Module, ratios: tuple[float, ...], parameter: Tensor, axes: Mapping[str, int | None]
) -> tuple[float, float]:
    """Return how many times the base's fan-in and fan-out a tensor has."""
    growing = [axis for axis, ratio in enumerate(ratios) if ratio != 1]
    if len(growing) > 2:
        raise UsageError(
            f"the tensor {list(parameter.shape)} grows with the width along {len(growing)} axes",
            where=f"{name} of maximal_update",
            todo="Give a network whose tensors grow along two axes at most; the paper has no rule for more.",
        )
    if name in axes:
        into = axes[name]
    elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        # A row is looked up: nothing is summed over the vocabulary.
        return 1.0, ratios[1]
    elif isinstance(module, _OUT_IN) and parameter.ndim >= 2:
        into = 0 if isinstance(module, _TRANSPOSED) else 1
    elif sum(size > 1 for size in parameter.shape) <= 1 or not growing:
        into = None
    else:
        raise UsageError(
            f"which axis of the tensor {list(parameter.shape)} is summed over cannot be known",
            where=f"{name} of maximal_update",
            todo=f"Give fan_in_axes={{{name!r}: axis}}, or None for what is only added or looked up.",
        )
    fan_in = 1.0 if into is None else ratios[into]
    return fan_in, math.prod(ratios) / fan_in


def _drawn(module: nn.Module, inner: nn.Module) -> float | None:
    """Return by how much torch's initial variance falls against the base; None: as the inverse of the fan-in."""
    if isinstance(module, _RECURRENT) and isinstance(inner, _RECURRENT):
        return module.hidden_size / inner.hidden_size
    if isinstance(module, (nn.Linear, _CONVOLUTION)) and isinstance(inner, (nn.Linear, _CONVOLUTION)):
        # Of transposed convolutions too: torch's fan-in is the second axis of the weight, of the bias as well.
        return module.weight.shape[1] / inner.weight.shape[1]
    return None


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Iterate over each place in which a parameter stands, with the module that owns it there."""
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            yield name, module, parameter


def _matched(network: nn.Module, base: nn.Module, axes: Mapping[str, int | None]) -> dict[str, tuple[int, ...]]:
    """Return the base's shapes by name, or refuse a base that is another network."""
    own, its = ({name: tuple(each.shape) for name, _, each in _parameters(one)} for one in (network, base))
    for name in (*own, *its):
        if name not in own or name not in its or len(own[name]) != len(its[name]):
            mine, other = (f"{list(one[name])}" if name in one else "not there" for one in (own, its))
            raise UsageError(
                f"the tensor {name} is {mine} in the network and {other} in the base",
                where="base of maximal_update",
                todo="Give a base made by the same function, with another width and all else alike.",
            )
    for name, axis in axes.items():
        if name not in own or (axis is not None and not -len(own[name]) <= axis < len(own[name])):
            raise UsageError(
                f"the network has no axis {axis} of a tensor {name}",
                where="fan_in_axes of maximal_update",
                todo=nearest(name, own),
            )
    return its
