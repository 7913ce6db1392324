"""The trainings whose lines are compared, as the judge and the picture pick them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepscope.core import Grid, Value

#: Number of hidden layers, and how many units each has.
WIDTHS = {2: 100, 10: 32}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}
SIZES = ("small", "large")
Rates = Mapping[tuple[int, str, str], float]
#: Learning rates on digits, by number of hidden layers, optimizer and size.
RATES: Rates = {
    (2, "sgd", "small"): 0.01,
    (2, "sgd", "large"): 0.1,
    (2, "adam", "small"): 0.001,
    (2, "adam", "large"): 0.03,
    (10, "sgd", "small"): 0.01,
    (10, "sgd", "large"): 0.02,
    (10, "adam", "small"): 0.001,
    (10, "adam", "large"): 0.01,
}
#: Those on MNIST, where the large ones were found in the same way.
MNIST_RATES: Rates = {**RATES, (2, "adam", "large"): 0.01, (10, "adam", "large"): 0.003}
#: Softmax regression, whose loss is convex.
CONVEX: dict[str, Value] = {"depth": 0, "batch_norm": False, "optimizer": "sgd", "rate": "large"}
CONVEX_RATE = 0.3
#: Initialisations that each solution is joined to besides its own.
UNRELATED = 3


def trainings(depth: int, *, batch_norm: bool = False) -> dict[str, dict[str, Value]]:
    """Return the trainings of a network by name, as fields of a case.

    >>> list(trainings(2))
    ['SGD, small rate', 'SGD, large rate', 'Adam, small rate', 'Adam, large rate']
    """
    return {
        f"{label}, {size} rate": {"depth": depth, "batch_norm": batch_norm, "optimizer": optimizer, "rate": size}
        for optimizer, label in OPTIMIZERS.items()
        for size in SIZES
    }


def conditions(seeds: int | Iterable[int], rates: Rates = RATES, **shared: Value) -> Grid:
    """Return softmax regression and both networks, without and with batch norm, in every training."""
    chosen = seeds if isinstance(seeds, int) else tuple(seeds)
    found = Grid(seeds=chosen, width=1, learning_rate=CONVEX_RATE, **CONVEX, **shared)
    for (depth, optimizer, size), learning_rate in rates.items():
        found += Grid(
            seeds=chosen,
            depth=depth,
            width=WIDTHS[depth],
            batch_norm=[False, True],
            optimizer=optimizer,
            rate=size,
            learning_rate=learning_rate,
            **shared,
        )
    return found
