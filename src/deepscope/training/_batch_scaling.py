"""Learning rates for larger batches, and the warm-up that the large ones need."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

from deepscope.core import Specimen, UsageError, nearest
from deepscope.training._optimizer_arguments import require, require_rate
from deepscope.training._schedules import Schedule

BatchRule = Literal["linear", "square root"]
_POWERS = {"linear": 1.0, "square root": 0.5}


def scaled_rate(lr: float, batch_size: int, base_batch_size: int, *, rule: BatchRule = "linear") -> float:
    """Return the learning rate for a batch of another size: η k, or η √k, for k times the batch.

    *Linear* (``goyal2017accurate``): one step on a batch of kB at the rate kη goes, to first order in η, where k steps
    on batches of B go, and its noise is theirs. The rule of SGD, with momentum or without, as long as kη is small
    against 2/λ, λ the largest curvature. *Square root* (``krizhevsky2014one``, ``hoffer2017train``): a single step's
    noise η g keeps its covariance, that falls as 1/B. The steps being k times fewer, it covers less ground in an epoch.

    Parameters
    ----------
    lr
        η, tuned at the base's batch size.
    batch_size, base_batch_size
        kB and B, over all devices.
    rule
        ``"linear"`` or ``"square root"``.

    Raises
    ------
    UsageError
        The rate is negative, a batch size below 1, or the rule unknown.

    Examples
    --------
    >>> scaled_rate(0.1, 8192, 256), scaled_rate(0.1, 1024, 256, rule="square root")
    (3.2, 0.2)
    """
    require_rate("lr", lr, where="scaled_rate")
    for name, size in (("batch_size", batch_size), ("base_batch_size", base_batch_size)):
        require(size >= 1, name, size, "at least 1", where="scaled_rate")
    if rule not in _POWERS:
        raise UsageError("unknown rule", where=str(rule), todo=nearest(str(rule), _POWERS))
    return float(lr * (batch_size / base_batch_size) ** _POWERS[rule])


def gradual_warmup(steps: int, ratio: float) -> Schedule:
    """Raise the factor linearly from 1/ratio to 1 over the first steps, then keep it.

    On a rate scaled by ``ratio`` it starts at the one before scaling: at update t = 0, 1, … it is
    [1 + (ratio − 1) t/steps]/ratio. The source takes five epochs. ``linear_warmup`` starts near 0 instead. As every
    schedule it is for ``fit``, and for ``torch.optim.lr_scheduler.LambdaLR``. Torch's momentum v ← μv + g, θ ← θ − ηv
    needs no correction as η grows. Source: ``goyal2017accurate``.

    Raises
    ------
    UsageError
        ``steps`` is below 1, or the ratio is below 1.

    Examples
    --------
    >>> [gradual_warmup(4, 8.0)(step) for step in (0, 2, 4, 100)]
    [0.125, 0.5625, 1.0, 1.0]
    """
    require(steps >= 1, "steps", steps, "at least 1", where="gradual_warmup")
    require(1 <= ratio < math.inf, "ratio", ratio, "1 or more, and finite", where="gradual_warmup")
    return partial(_gradual_warmup, steps=steps, ratio=ratio)


def _gradual_warmup(step: int, *, steps: int, ratio: float) -> float:
    return (1 + (ratio - 1) * min(1.0, step / steps)) / ratio


SPECIMENS = (
    Specimen(
        name="scaled-rate",
        title="learning rates in proportion to the batch, or to its root",
        build=scaled_rate,
        formula="η kB/B (linear) or η √(kB/B) (square root) for the rate of a batch k times as large as the base's.",
        source="goyal2017accurate",
        pinned_by="tests/training/test_batch_scaling.py::test_k_steps_are_one_step_to_first_order",
    ),
    Specimen(
        name="gradual-warmup",
        title="warm-up from the rate of small batches to that of large ones",
        build=gradual_warmup,
        formula="Factor [1 + (k − 1) min(1, t/T)]/k on the scaled rate at update t = 0, 1, …; T steps, k the ratio.",
        source="goyal2017accurate",
        pinned_by="tests/training/test_batch_scaling.py::test_it_is_the_ramp_of_the_paper",
    ),
)
