"""Schedules that fall with a power of the step, for runs of unknown length."""

from __future__ import annotations

import math
from functools import partial

from deepscope.core import Specimen
from deepscope.training._optimizer_arguments import require
from deepscope.training._schedules import Schedule, cosine


def inverse_square_root(warmup: int) -> Schedule:
    """Raise the factor linearly to 1 over the warm-up, then let it fall with the root of the step.

    With t = step + 1 it is min(t/warmup, √(warmup/t)). The transformer's schedule d^−½ · min(t^−½, t · warmup^−3/2)
    is this one on a learning rate of (d · warmup)^−½, d the model's width. Source: ``vaswani2017attention``.

    Raises
    ------
    UsageError
        ``warmup`` is below 1.

    Examples
    --------
    >>> [inverse_square_root(4)(step) for step in (0, 1, 3, 15)]
    [0.25, 0.5, 1.0, 0.5]
    """
    require(warmup >= 1, "warmup", warmup, "at least 1", where="inverse_square_root")
    return partial(_inverse_square_root, warmup=warmup)


def inverse_time(half: float, power: float = 1.0) -> Schedule:
    """Let the factor fall as 1/(1 + step/half)^power: to a half at step ``half``, for the power of 1.

    For powers above ½ and at most 1 the rates sum to infinity and their squares do not, as convergence under noise
    asks. The first power on a learning rate of 1 and with half = 1 makes gradient descent on (w − x)²/2 the running
    mean of x. Source: ``robbins1951stochastic``.

    Raises
    ------
    UsageError
        ``half`` is not above 0, or the power not above 0 and at most 1.

    Examples
    --------
    >>> [inverse_time(100)(step) for step in (0, 100, 300)]
    [1.0, 0.5, 0.25]
    """
    require(0 < half < math.inf, "half", half, "above 0", where="inverse_time")
    require(0 < power <= 1, "power", power, "above 0 and at most 1", where="inverse_time")
    return partial(_inverse_time, half=half, power=power)


def _inverse_square_root(step: int, *, warmup: int) -> float:
    return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def _inverse_time(step: int, *, half: float, power: float) -> float:
    return float((1 + step / half) ** -power)


SPECIMENS = (
    Specimen(
        name="cosine-schedule",
        title="learning rates that fall along half a cosine",
        build=cosine,
        formula="Factor f + (1 − f)(1 + cos πt/n)/2 on the learning rate after t of n updates, f at the end.",
        source="loshchilov2017sgdr",
        pinned_by="tests/training/test_schedules.py::test_cosine_equals_its_formula_and_falls",
    ),
    Specimen(
        name="inverse-square-root",
        title="the transformer's schedule: warm-up, then the inverse root of the step",
        build=inverse_square_root,
        formula="Factor min(t/w, √(w/t)) on the learning rate at update t = 1, 2, …, w the number of warm-up steps.",
        source="vaswani2017attention",
        pinned_by="tests/training/test_decay_schedules.py::test_it_is_the_transformers_schedule",
    ),
    Specimen(
        name="inverse-time",
        title="learning rates that fall as the inverse of time",
        build=inverse_time,
        formula="Factor (1 + t/τ)^−p on the learning rate after t updates, ½ < p ≤ 1.",
        source="robbins1951stochastic",
        rows=("sgd-robbins-monro",),
        pinned_by=(
            "tests/training/test_decay_schedules.py::"
            "test_the_error_falls_as_1_over_t_and_the_average_reaches_the_cramer_rao_bound"
        ),
    ),
)
