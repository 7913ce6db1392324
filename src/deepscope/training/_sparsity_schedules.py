"""Schedules of pruning: plain functions from the number of updates made to the share of weights that are then 0.

Pure, and partial functions, as the schedules of learning rates are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from deepscope.training._optimizer_arguments import require
from deepscope.training._pruning import require_share

SparsitySchedule = Callable[[int], float]


def one_shot_sparsity(final: float, *, start: int = 0) -> SparsitySchedule:
    """Prune once, after ``start`` updates.

    Raises
    ------
    UsageError
        ``final`` is not between 0 and 1, or ``start`` is negative.

    Examples
    --------
    >>> [one_shot_sparsity(0.9, start=10)(step) for step in (0, 9, 10)]
    [0.0, 0.0, 0.9]
    """
    _require("one_shot_sparsity", final, start)
    return partial(_one_shot, final=final, start=start)


def geometric_sparsity(final: float, *, every: int, prunings: int, start: int = 0) -> SparsitySchedule:
    """Prune n times, every so many updates from ``start`` on, each time the same share of what remains.

    At the k-th time, k = 1 … n, sparsity is 1 − (1 − s)^(k/n) with s the final one: the schedule of
    ``han2015learning``, whose compression grows by the same factor each time.

    Raises
    ------
    UsageError
        An argument is out of range.

    Examples
    --------
    >>> [round(geometric_sparsity(0.75, every=10, prunings=2)(step), 3) for step in (0, 9, 10, 99)]
    [0.5, 0.5, 0.75, 0.75]
    """
    _require("geometric_sparsity", final, start, every, prunings)
    return partial(_geometric, final=final, start=start, every=every, prunings=prunings)


def cubic_sparsity(
    final: float, *, every: int, prunings: int, start: int = 0, initial: float = 0.0
) -> SparsitySchedule:
    """Prune fast at first, and ever less.

    After t = t₀ + kΔt updates, k = 0 … n, and until the next of these::

        s = s_f + (s_i − s_f)(1 − (t − t₀)/(nΔt))³

    and 0 before t₀. Source: ``zhu2018prune``.

    Parameters
    ----------
    final, initial
        s_f and s_i.
    every, prunings, start
        Δt, n and t₀.

    Raises
    ------
    UsageError
        An argument is out of range.

    Examples
    --------
    >>> [cubic_sparsity(0.8, every=10, prunings=2)(step) for step in (0, 9, 10, 20, 99)]
    [0.0, 0.0, 0.7000000000000001, 0.8, 0.8]
    """
    _require("cubic_sparsity", final, start, every, prunings)
    require(0 <= initial < final, "initial", initial, f"from 0 to below {final}", where="cubic_sparsity")
    return partial(_cubic, final=final, initial=initial, start=start, every=every, prunings=prunings)


def described(function: Callable[..., Any]) -> str:
    """Return a function's name, and the arguments that it was made with.

    >>> described(one_shot_sparsity(0.5))
    'one_shot(final=0.5, start=0)'
    """
    if isinstance(function, partial):
        arguments = ", ".join(f"{name}={value!r}" for name, value in function.keywords.items())
        return f"{described(function.func).lstrip('_')}({arguments})"
    return str(getattr(function, "__qualname__", type(function).__name__))


def _one_shot(step: int, *, final: float, start: int) -> float:
    return final if step >= start else 0.0


def _geometric(step: int, *, final: float, start: int, every: int, prunings: int) -> float:
    if step < start:
        return 0.0
    done = min(prunings, (step - start) // every + 1)
    return final if done == prunings else 1 - (1 - final) ** (done / prunings)


def _cubic(step: int, *, final: float, initial: float, start: int, every: int, prunings: int) -> float:
    if step < start:
        return 0.0
    done = min(prunings, (step - start) // every)
    return float(final + (initial - final) * (1 - done / prunings) ** 3)


def _require(where: str, final: float, start: int, every: int = 1, prunings: int = 1) -> None:
    require_share("final", final, where=where)
    require(start >= 0, "start", start, "0 or more", where=where)
    require(every >= 1, "every", every, "1 or more", where=where)
    require(prunings >= 1, "prunings", prunings, "1 or more", where=where)
