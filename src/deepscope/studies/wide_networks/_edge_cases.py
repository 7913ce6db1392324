"""The conditions of the study of the edge of chaos, and what theory says of them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

from deepscope.core import Grid
from deepscope.linalg import MeanField, mean_field

BIAS_VARIANCE = 0.05
#: σ_w² of the networks that signals are sent through.
SIGNALS = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)
#: σ_w² of the networks that are trained; the middle one is nearest to the edge of chaos.
TRAINED = (1.0, 1.3, 1.75, 2.5, 4.0)
EDGE = 1.75
#: So near to χ₁ = 1 correlations have not settled at the depths sent through.
NEAR = 0.1
#: Beyond this ξ_c networks of the greatest depth can be trained: there is no boundary to be seen.
LONGEST = 15.0
NARROW = 10
#: Of linear networks: the learning rate times the depth.
LINEAR_RATE = 0.3


@functools.cache
def theory(weight_variance: float, activation: str = "tanh") -> MeanField:
    """Return the mean field of networks with these weights.

    >>> round(theory(1.75).chi1, 2)
    1.0
    """
    return mean_field(activation, weight_variance, BIAS_VARIANCE)


def away_from_the_edge() -> tuple[float, ...]:
    """Return the σ_w² of which correlations are judged.

    >>> away_from_the_edge()
    (1.0, 1.15, 1.3, 2.5, 3.0, 3.5, 4.0)
    """
    return tuple(each for each in SIGNALS if abs(theory(each).chi1 - 1) >= NEAR)


def bounded() -> tuple[float, ...]:
    """Return the σ_w² of which the depth that can be trained is judged.

    >>> bounded()
    (1.0, 1.3, 2.5, 4.0)
    """
    return tuple(each for each in TRAINED if theory(each).correlation_depth <= LONGEST)


def grid(
    signal_seeds: Iterable[int],
    training_seeds: Iterable[int],
    *,
    depths: tuple[int, ...],
    rates: tuple[float, ...],
    signal: dict[str, Any],
    training: dict[str, Any],
) -> Grid:
    """Return the trials of one scale."""
    linear: dict[str, Any] = {"part": "linear", "activation": "identity", "weight_variance": 1.0, "bias_variance": 0.0}
    deepest = max(depths)
    return (
        Grid(seeds=signal_seeds, part="signal", weight_variance=SIGNALS, **signal)
        + Grid(seeds=signal_seeds, part="narrow", weight_variance=SIGNALS, **{**signal, "width": NARROW})
        + Grid(
            seeds=training_seeds,
            part="training",
            weight_variance=TRAINED,
            depth=depths,
            learning_rate=rates,
            **training,
        )
        + Grid(
            seeds=training_seeds,
            start=["orthogonal", "gaussian"],
            depth=deepest,
            learning_rate=LINEAR_RATE / deepest,
            **linear,
            **training,
        )
    )


def trainable_depth(depths: Iterable[float], accuracies: Iterable[float], least: float) -> float:
    """Return the depth at which the accuracy first falls below the least, interpolated; NaN where that is not seen.

    >>> trainable_depth((10, 20, 40), (0.9, 0.7, 0.2), 0.5)
    28.0
    >>> trainable_depth((10, 20), (0.9, 0.7), 0.5)
    nan
    """
    found = list(zip(depths, accuracies, strict=True))
    for (shallow, more), (deep, less) in itertools.pairwise(found):
        if not more >= least or math.isnan(less):
            return math.nan
        if less < least:
            return shallow + (more - least) / (more - less) * (deep - shallow)
    return math.nan
