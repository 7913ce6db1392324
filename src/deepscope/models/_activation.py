"""Activation functions by name."""

from __future__ import annotations

from torch import nn

from deepscope.core import UsageError, nearest

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def make_activation(name: str) -> nn.Module:
    """Return a new activation module.

    Raises
    ------
    UsageError
        No activation has this name.
    """
    try:
        return _ACTIVATIONS[name]()
    except KeyError:
        raise UsageError("unknown activation", where=name, todo=nearest(name, _ACTIVATIONS)) from None
