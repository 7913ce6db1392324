"""Training by minibatches that ends where the loss over all training samples is low enough."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Samples
from deepscope.training import Callback, Checkpoint, TrainingState, constant, fit, linear_warmup

SAVED_EVERY = 10_000
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def train_to_equal_loss(model: nn.Module, samples: Samples, case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a classifier until its cross-entropy over all samples is at most ``case.target_loss``.

    Parameters
    ----------
    model
        Trained in place.
    samples
        On the model's device.
    case
        Its ``optimizer``, ``learning_rate``, ``warmup`` (steps of a linear warm-up; none at 0), ``batch_size``,
        ``order`` (a name: another one is another order of the same samples), ``target_loss``, ``check_every`` (steps)
        and ``max_steps``.
    run
        The trial's seed, checkpoint and progress.

    Returns
    -------
    dict
        ``steps``: how many updates it took; None where ``max_steps`` were not enough. ``loss``: the last loss.

    Raises
    ------
    UsageError
        An unknown optimizer.
    MeasurementError
        The training diverges.
    """
    if case.optimizer not in OPTIMIZERS:
        raise UsageError("unknown optimizer", where=case.optimizer, todo=nearest(case.optimizer, OPTIMIZERS))
    goal = _LowLoss(samples, case, run)
    history = fit(
        model,
        samples.epochs(case.batch_size, seed=derive_seed(run.seed, case.order)),
        functional.cross_entropy,
        optimizer=OPTIMIZERS[case.optimizer](model.parameters(), lr=case.learning_rate),
        # Each epoch makes a step at least.
        epochs=case.max_steps,
        schedule=linear_warmup(case.warmup) if case.warmup else constant(),
        callbacks=[goal],
        checkpoint=Checkpoint(run.checkpoint, every_steps=SAVED_EVERY),
        seed=run.seed,
    )
    return {"steps": len(history.loss) if goal.reached else None, "loss": goal.loss}


@final
class _LowLoss(Callback):
    """Ends the training where the loss over all samples is low enough, or the steps are used up."""

    def __init__(self, samples: Samples, case: Case, run: TrialRun) -> None:
        self.samples, self.case, self.run = samples, case, run
        self.loss = math.inf

    @property
    def reached(self) -> bool:
        """Whether the loss was low enough when it was last measured."""
        return bool(self.loss <= self.case.target_loss)

    def on_step(self, state: TrainingState) -> None:
        """Measure every so many steps, and at the last."""
        last = state.step >= self.case.max_steps
        if state.step % self.case.check_every and not last:
            return
        with torch.no_grad():
            outputs = state.model(self.samples.inputs)
            self.loss = float(functional.cross_entropy(outputs, self.samples.targets))
        state.stop = self.reached or last
        self.run.progress(state.step / self.case.max_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the last loss."""
        return {"loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.loss = state["loss"]
