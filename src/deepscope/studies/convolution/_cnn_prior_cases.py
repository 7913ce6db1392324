"""The networks that are compared, as the judge and the picture pick them out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deepscope.core import Grid, Value, per_seed

if TYPE_CHECKING:
    import pandas as pd

Fields = dict[str, Value]

#: Pooling and activation of the networks that learn many images.
POOLED: tuple[tuple[str, str], ...] = (
    ("max", "relu"),
    ("average", "relu"),
    ("overlapping", "relu"),
    ("strided", "relu"),
    ("max", "tanh"),
    ("average", "tanh"),
    ("subsampling", "tanh"),
)


def learning(network: str, images: str = "shifted", sample: str = "few") -> Fields:
    """Return the fields of a network with max pooling and rectified units, on one kind of images."""
    return {**_PLAIN, "network": network, "images": images, "sample": sample}


def pooled(pooling: str, activation: str) -> Fields:
    """Return the fields of a convolutional network that learns many shifted images."""
    return {**learning("cnn", sample="many"), "pooling": pooling, "activation": activation}


_PLAIN: Fields = {"part": "learn", "pooling": "max", "activation": "relu"}
#: The networks whose errors on few images are judged.
FEW: tuple[Fields, ...] = (
    *(learning(network) for network in ("cnn", "unshared", "local", "mlp")),
    *(learning(network, images) for images in ("permuted", "still") for network in ("cnn", "mlp")),
)
MANY_MLP = learning("mlp", sample="many")


def conditions(
    seeds: int | Iterable[int],
    pooling_seeds: int | Iterable[int],
    poolings: Iterable[tuple[str, str]] = POOLED,
    **shared: Value,
) -> Grid:
    """Return every condition, but for the poolings that are left out, with the other fields shared."""
    found = Grid(seeds=seeds, part="filters", **shared)
    for case in (*FEW, MANY_MLP):
        found += Grid(seeds=seeds, **case, **shared)
    for pooling, activation in poolings:
        found += Grid(seeds=pooling_seeds, **pooled(pooling, activation), **shared)
    return found


def numbers(trials: pd.DataFrame, column: str, case: Fields) -> pd.Series[Any]:
    """Return a number of one condition by seed."""
    return per_seed(trials, column, **case).astype(float)
