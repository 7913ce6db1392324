"""The networks that are compared, as the judge and the picture pick them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepscope.core import Grid, Value, per_seed

if TYPE_CHECKING:
    Numbers = pd.Series[Any]


@dataclass(frozen=True)
class Recipe:
    """How the networks of a family are trained, and at which depths they are judged.

    Attributes
    ----------
    control, shallow, deep
        Layers with weights: where both kinds must be alike; where degradation is counted from; where it is judged.
    rates
        Learning rates to choose from.
    weight_decay
        Of stochastic gradient descent with momentum 0.9.
    annealed
        Whether the learning rate falls to 0 along half a cosine.
    """

    control: int
    shallow: int
    deep: int
    rates: tuple[float, ...]
    weight_decay: float
    annealed: bool


RECIPES: Mapping[str, Recipe] = {
    "perceptron": Recipe(4, 8, 64, rates=(0.001, 0.004, 0.016, 0.064), weight_decay=0.0, annealed=False),
    "convolutional": Recipe(8, 20, 56, rates=(0.02, 0.05, 0.1), weight_decay=1e-4, annealed=True),
}
KINDS = ("plain", "residual")


def perceptrons(
    seeds: Iterable[int],
    depths: Iterable[int] = (4, 8, 32, 64),
    deep: int = RECIPES["perceptron"].deep,
    **shared: Value,
) -> Grid:
    """Return perceptrons of all depths, plain and residual; and deep ones of the other arms, and at every rate."""
    chosen = tuple(seeds)
    fields = {"family": "perceptron", "width": 32, "epochs": 20, "tuning_seeds": 2, **shared}
    return (
        Grid(seeds=chosen, depth=depths, arm=KINDS, **fields)
        + Grid(seeds=chosen, depth=deep, arm=["unscaled", "looks-linear"], **fields)
        + Grid(seeds=chosen, depth=deep, arm="plain", selection="best", **fields)
    )


def convolutional(seeds: Iterable[int], depths: Iterable[int] = (8, 20, 56), **shared: Value) -> Grid:
    """Return convolutional networks of all depths, plain and residual."""
    fields = {"family": "convolutional", "width": 4, "epochs": 10, "tuning_seeds": 1, **shared}
    return Grid(seeds=seeds, depth=depths, arm=KINDS, **fields)


def by_seed(trials: pd.DataFrame, column: str, family: str, arm: str, depth: int, selection: str = "tuned") -> Numbers:
    """Return one column of the trials of one kind of network, by seed."""
    return per_seed(trials, column, family=family, arm=arm, depth=depth, selection=selection)


def depths_of(trials: pd.DataFrame, family: str) -> list[int]:
    """Return the depths of which there are trials, ascending."""
    known = trials.reindex(columns=["family", "depth"])
    found: Any = known.loc[known["family"] == family, "depth"].dropna()
    return sorted({int(depth) for depth in found})
