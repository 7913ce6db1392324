"""Whether networks differ in nothing but the values of their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Where a module keeps parameters, buffers, modules and hooks, which are compared by themselves, recurrent layers their
#: parameters once more; the mode is set anew.
_APART = frozenset({*vars(nn.Module()), "training", "_flat_weights", "_flat_weight_refs"})


def difference(networks: Sequence[nn.Module]) -> str | None:
    """Say in what the first network differs from another, or what makes it more than a function of its weights.

    Compared are modules by name and class, parameters and buffers by name, shape, type and whether they are trained,
    which of them are tied, and every plain attribute of a module. What cannot be compared counts as different.

    >>> difference([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(2, 2)])
    'in_features is 3 in network 0 and 2 in network 2'
    """
    first = dict(_features(networks[0]))
    for index, network in enumerate(networks[1:], start=1):
        other = dict(_features(network))
        for name in (*first, *(name for name in other if name not in first)):
            here, there = first.get(name, _ABSENT), other.get(name, _ABSENT)
            if not same(here, there):
                return f"{name} is {shown(here)} in network 0 and {shown(there)} in network {index}"
    return _with_hooks(networks)


def _features(network: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in network.named_modules():
        yield f"the module {name or 'itself'}", type(module)
        for attribute, value in vars(module).items():
            if attribute not in _APART:
                yield f"{name}.{attribute}".removeprefix("."), value
    first_name: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        trained = "" if parameter.requires_grad else ", not trained"
        tied = first_name.setdefault(id(parameter), name)
        yield name, Text(f"{_kind(parameter)}{trained}{'' if tied == name else f', tied to {tied}'}")
    for name, buffer in network.named_buffers(remove_duplicate=False):
        yield name, Text(_kind(buffer))


class Text(str):
    """What is shown as it is."""

    __slots__ = ()


_ABSENT = Text("absent")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def same(one: Any, other: Any) -> bool:
    """Say whether two things are known to be equal."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    try:
        return bool(one == other)
    except Exception:
        # An object that cannot be compared may be anything.
        return False


def shown(value: Any) -> str:
    """Return a value in words."""
    if isinstance(value, Text):
        return value
    if isinstance(value, type):
        return value.__name__
    return repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"


def _with_hooks(networks: Sequence[nn.Module]) -> str | None:
    for index, network in enumerate(networks):
        for name, module in network.named_modules():
            if any(hooks for key, hooks in vars(module).items() if key.endswith("_hooks") and hooks):
                return f"the module {name or 'itself'} of network {index} has hooks"
    return None
