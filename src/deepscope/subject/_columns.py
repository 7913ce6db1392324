"""Columns of the network at a glance: one per layer, whatever the number of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def layer_of(name: str) -> str:
    """Return the layer that a tensor belongs to: its name without the last part, or all of a name of one part.

    >>> layer_of("encoder.lstm.weight_ih_l0"), layer_of("weight")
    ('encoder.lstm', 'weight')
    """
    return name.rpartition(".")[0] or name


def most_telling(tensors: Iterable[tuple[str, T]], rank: Callable[[T], float]) -> dict[str, T]:
    """Return one value per layer, so that all instruments speak of a layer in one column.

    Parameters
    ----------
    tensors
        Names and values, in the order of the model or file; tables hold them all.
    rank
        Of a layer's several tensors the one with the smallest rank stands for it, the first of equals.

    Examples
    --------
    >>> most_telling([("lstm.weight_ih_l0", 3.0), ("lstm.weight_hh_l0", 2.0), ("head.weight", 4.0)], float)
    {'lstm': 2.0, 'head': 4.0}
    """
    found: dict[str, T] = {}
    for name, value in tensors:
        layer = layer_of(name)
        if layer not in found or rank(value) < rank(found[layer]):
            found[layer] = value
    return found
