"""The trainings that the study of sharp minima compares, as its judge and its picture pick them out."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from deepscope.core import Grid, Value

#: By name in a case: how the picture calls it.
ARMS = {
    "small": "small batch",
    "again": "small batch, another order",
    "large": "large batch",
    "scaled": "large batch, scaled rate",
    "whole scaled": "all samples, scaled rate",
    "whole": "all samples",
    "adam small": "small batch, Adam",
    "adam large": "large batch, Adam",
}
#: The large batch is this share of the training samples, as in the source.
LARGE = Fraction(1, 10)
ADAM_RATE = 0.001


def arms(*, n_train: int, small: int, rate: float, warmup: int) -> dict[str, dict[str, Value]]:
    """Return the fields of every training's case.

    The scaled rate is to the rate as the large batch is to the small one, after a linear warm-up of so many steps.

    >>> arms(n_train=1200, small=8, rate=0.04, warmup=50)["scaled"]["learning_rate"]
    0.6
    """
    large = int(LARGE * n_train)
    scaled: dict[str, Value] = {"learning_rate": float(Fraction(str(rate)) * large / small), "warmup": warmup}
    adam: dict[str, Value] = {"optimizer": "adam", "learning_rate": ADAM_RATE}
    changes: dict[str, dict[str, Value]] = {
        "small": {"batch_size": small},
        "again": {"batch_size": small, "order": "another"},
        "large": {"batch_size": large},
        "scaled": {"batch_size": large, **scaled},
        "whole scaled": {"batch_size": n_train, **scaled},
        "whole": {"batch_size": n_train},
        "adam small": {"batch_size": small, **adam},
        "adam large": {"batch_size": large, **adam},
    }
    plain: dict[str, Value] = {"optimizer": "sgd", "learning_rate": rate, "warmup": 0, "order": "first"}
    return {name: {"arm": name, "n_train": n_train, **plain, **change} for name, change in changes.items()}


def conditions(
    seeds: int | Iterable[int],
    names: Iterable[str],
    *,
    n_train: int,
    small: int,
    rate: float,
    warmup: int,
    **shared: Value,
) -> Grid:
    """Return some trainings with the other fields shared."""
    known = arms(n_train=n_train, small=small, rate=rate, warmup=warmup)
    chosen = seeds if isinstance(seeds, int) else tuple(seeds)
    first, *more = (Grid(seeds=chosen, **known[name], **shared) for name in names)
    return sum(more, start=first)
