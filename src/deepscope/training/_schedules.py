"""Learning-rate schedules: plain functions from the step to a factor on the optimizer's own learning rates.

They are pure, so a resumed run needs no state of theirs; and partial functions, so that they can be pickled, and a
checkpoint can say how a schedule differs from the one that it was written with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from deepscope.core import UsageError

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Keep the learning rate.

    >>> constant()(1000)
    1.0
    """
    return _constant


def linear_warmup(steps: int) -> Schedule:
    """Raise the factor linearly over the first steps, from 1/steps to 1, then keep it.

    Source: ``goyal2017accurate``.

    >>> [linear_warmup(4)(step) for step in (0, 1, 3, 100)]
    [0.25, 0.5, 1.0, 1.0]
    """
    _require(steps >= 1, "steps", steps, "at least 1")
    return partial(_linear_warmup, steps=steps)


def cosine(total: int, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Half a cosine from 1 at step ``warmup`` to ``final`` at step ``total``, after a linear warm-up.

    With t = (step − warmup) / (total − warmup), the factor is final + (1 − final)(1 + cos πt)/2; before, it is
    (step + 1)/warmup, and from ``total`` on ``final``. Source: ``loshchilov2017sgdr`` (one period, no restart).

    Raises
    ------
    UsageError
        ``warmup`` is negative or not below ``total``, or ``final`` is negative.

    Examples
    --------
    >>> [round(cosine(8, final=0.1)(step), 3) for step in (0, 4, 8, 9)]
    [1.0, 0.55, 0.1, 0.1]
    """
    _require(0 <= warmup < total, "warmup", warmup, f"from 0 to {total - 1} (total is {total})")
    _require(final >= 0, "final", final, "0 or more")
    return partial(_cosine, total=total, warmup=warmup, final=final)


def step_decay(every: int, factor: float = 0.1) -> Schedule:
    """Multiply the learning rate by ``factor`` after every so many steps.

    >>> [step_decay(10, 0.5)(step) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """
    _require(every >= 1, "every", every, "at least 1")
    _require(factor > 0, "factor", factor, "above 0")
    return partial(_step_decay, every=every, factor=factor)


def _constant(step: int) -> float:
    return 1.0


def _linear_warmup(step: int, *, steps: int) -> float:
    return min(1.0, (step + 1) / steps)


def _cosine(step: int, *, total: int, warmup: int, final: float) -> float:
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / (total - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def _step_decay(step: int, *, every: int, factor: float) -> float:
    return float(factor ** (step // every))


def _require(holds: bool, name: str, value: float, allowed: str) -> None:
    if not holds:
        raise UsageError(f"a schedule's {name} is {value}", where=name, todo=f"Give {name} {allowed}.")
