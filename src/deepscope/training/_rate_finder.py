"""Learning-rate range test: raise the rate from step to step, and see where the loss falls and where it explodes."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import nn

from deepscope.core import MeasurementError, Specimen
from deepscope.training._callback import Callback
from deepscope.training._fit import Data, fit
from deepscope.training._loss import Loss
from deepscope.training._optimizer_arguments import require
from deepscope.training._state import TrainingState

#: A fall of so small a part of the loss is rounding in float32.
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """What the loss does as the learning rate grows from step to step.

    Attributes
    ----------
    rates
        Of each step, of the optimiser's first group; ascending.
    losses
        Before each step's update, on its batch.
    smoothed
        Their running mean.
    suggestion
        The rate at which the running mean falls fastest per factor in the rate; None where it does not fall, or by no
        more than twice the deviation of single losses, as their differences from step to step show it.
    reason
        Why there is none; ``""`` where there is one.
    turning
        The rate of the step that raised the running mean from its least value; None where it fell to the last step.
    diverged
        Whether the test ended since the running mean passed the limit, or a loss was not finite.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    reason: str
    turning: float | None
    diverged: bool


def find_learning_rate(
    model: nn.Module,
    data: Data,
    loss: Loss,
    *,
    optimizer: torch.optim.Optimizer,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    limit: float = 4.0,
    seed: int = 0,
) -> LearningRates:
    """Train a copy of a network at rates that grow by one factor a step, and return the losses.

    At step t = 0, …, T − 1 the rate is low · (high/low)^(t/(T − 1)). With L the loss before an update, the running mean
    is M ← βM + (1 − β)L, divided by 1 − βᵗ⁺¹. The test ends when it is above ``limit`` times the least so far, or a
    loss is not finite. Suggested is the rate where the slope of M in log rate is steepest downwards, before the least
    M. For gradient descent on a quadratic of curvature λ and without smoothing, the loss turns at the first rate above
    2/λ. Source: ``smith2017cyclical``, who raises the rate linearly.

    Parameters
    ----------
    model, data, loss, seed
        As for ``fit``.
    optimizer
        Over the model's parameters. Rates are those of its first group; those of others keep their ratio to it.
    lowest, highest
        The first rate and the last.
    steps
        T.
    smoothing
        β; the mean is some 1/(1 − β) steps late, and so is the end.
    limit
        How many times the least running mean is a divergence.

    Returns
    -------
    LearningRates
        The model, the optimiser with its state, and all random generators are as before, since copies are trained.

    Raises
    ------
    UsageError
        An argument is out of range, or the optimiser's first rate is 0; and what ``fit`` refuses.

    Notes
    -----
    Costs ``steps`` steps of training and a copy of the model and of the optimiser's state. Not undone is what a model's
    hooks change outside of it, and what ``data`` draws from a generator of its own.

    Examples
    --------
    >>> weight = nn.Linear(1, 1, bias=False)
    >>> batch = torch.ones(1, 1), torch.zeros(1, 1)
    >>> found = find_learning_rate(
    ...     weight,
    ...     lambda epoch: [batch],
    ...     lambda outputs, targets: 4 * outputs.square().mean() / 2,
    ...     optimizer=torch.optim.SGD(weight.parameters(), lr=0.1),
    ...     lowest=0.001,
    ...     highest=10.0,
    ...     smoothing=0.0,
    ... )
    >>> found.diverged, 0.5 < found.turning < 0.5 * 10 ** (4 / 99)
    (True, True)
    """
    where = "find_learning_rate"
    require(0 < lowest < highest < math.inf, "lowest", lowest, f"above 0 and below highest ({highest})", where=where)
    require(steps >= 3, "steps", steps, "3 or more", where=where)
    require(0 <= smoothing < 1, "smoothing", smoothing, "from 0 to below 1", where=where)
    require(limit > 1, "limit", limit, "above 1", where=where)
    first = float(optimizer.param_groups[0]["lr"])
    require(first > 0, "the learning rate of the optimizer's first group", first, "above 0", where=where)
    growth = (highest / lowest) ** (1 / (steps - 1))
    copied, rule = _copied(model, optimizer)
    course = _Course(smoothing, limit, steps)
    schedule = partial(_exponential, first=lowest / first, growth=growth)
    try:
        fit(copied, data, loss, optimizer=rule, epochs=steps, schedule=schedule, callbacks=[course], seed=seed)
    except MeasurementError:
        # A loss or a weight that is not finite; where no step was made it is no divergence.
        if not course.losses:
            raise
        course.diverged = True
    rates = tuple(lowest * growth**step for step in range(len(course.losses)))
    return _read(rates, course)


def _copied(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Copy both together, so that the copied optimiser updates the copied model."""
    copies: dict[int, Any] = {}
    copied, rule = copy.deepcopy((model, optimizer), copies)
    # Of its attributes torch copies groups and state alone; a step that a scheduler has put in place is the original's.
    for name, value in vars(optimizer).items():
        if name not in vars(rule) and not callable(value):
            setattr(rule, name, copy.deepcopy(value, copies))
    return copied, rule


@final
class _Course(Callback):
    """Notes the losses, and ends the training when they diverge."""

    def __init__(self, smoothing: float, limit: float, steps: int) -> None:
        self.smoothing, self.limit, self.steps = smoothing, limit, steps
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.mean, self.diverged = 0.0, False

    def on_step(self, state: TrainingState) -> None:
        """Note the loss before the update."""
        assert state.loss is not None
        self.losses.append(state.loss)
        self.mean = self.smoothing * self.mean + (1 - self.smoothing) * state.loss
        self.smoothed.append(self.mean / (1 - self.smoothing ** len(self.losses)))
        least = min(self.smoothed)
        # Of a loss that can be negative a multiple means nothing; a distance of as many times its size does.
        self.diverged = self.smoothed[-1] - least > (self.limit - 1) * abs(least)
        state.stop = self.diverged or len(self.losses) == self.steps


def _exponential(step: int, *, first: float, growth: float) -> float:
    return float(first * growth**step)


def _read(rates: tuple[float, ...], course: _Course) -> LearningRates:
    """Find the steepest fall, and the turn."""
    smoothed, losses = np.array(course.smoothed), np.array(course.losses)
    least = int(smoothed.argmin())
    falls = np.diff(smoothed[: least + 1])
    # Of single losses about their course, from their differences from step to step.
    scatter = math.sqrt(np.square(np.diff(losses[: least + 1])).mean() / 2) if least else 0.0
    fall = smoothed[0] - smoothed[least]
    reason = ""
    if fall <= ROUNDING * abs(smoothed[0]):
        reason = "the loss never falls below its first value"
    elif fall <= 2 * scatter:
        reason = "the loss falls by no more than twice what the losses of single steps differ by"
    return LearningRates(
        rates=rates,
        losses=tuple(course.losses),
        smoothed=tuple(course.smoothed),
        suggestion=None if reason else rates[int(falls.argmin())],
        reason=reason,
        turning=rates[least] if least + 1 < len(rates) or course.diverged else None,
        diverged=course.diverged,
    )


SPECIMENS = (
    Specimen(
        name="learning-rate-finder",
        title="learning-rate range test",
        build=find_learning_rate,
        formula=(
            "Rate low·(high/low)^(t/(T − 1)) at step t; suggested is where the running mean of the loss falls fastest "
            "in log rate, until it is above a multiple of its least value."
        ),
        source="smith2017cyclical",
        pinned_by="tests/training/test_rate_finder.py::test_on_a_quadratic_it_turns_at_two_over_the_curvature",
    ),
)
