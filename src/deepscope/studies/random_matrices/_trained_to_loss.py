"""A network that is trained until its training loss is low enough, whatever the batch size."""

from __future__ import annotations

import math
from typing import Any, final

import torch

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.data import Dataset, Samples
from deepscope.models import MLP
from deepscope.training import Callback, Checkpoint, TrainingState, fit

STARTS = ("glorot", "torch")
SAVED_EVERY = 10_000


def network(data: Dataset, case: Case, generator: torch.Generator) -> Any:
    """Return inputs → width → width → classes with ReLU.

    Weights are Gaussian of variance 2 / (inputs + outputs of the layer), biases 0 (``"glorot"``); or both are uniform
    of variance 1 / (3 · inputs) (``"torch"``, its default).

    Raises
    ------
    UsageError
        An unknown start.
    """
    if case.start not in STARTS:
        raise UsageError("unknown start", where=case.start, todo=nearest(case.start, STARTS))
    model: Any = MLP(data.train.inputs[0].numel(), [case.width, case.width], len(data.classes))
    with torch.no_grad():
        for layer in (model.hidden1, model.hidden2, model.output):
            n_out, n_in = layer.weight.shape
            if case.start == "glorot":
                scale = (2 / (n_in + n_out)) ** 0.5
                layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=generator))
                layer.bias.zero_()
            else:
                for parameter in (layer.weight, layer.bias):
                    drawn = torch.rand(parameter.shape, generator=generator)
                    parameter.copy_((2 * drawn - 1) / n_in**0.5)
    return model


def train_to_loss(model: Any, samples: Samples, data: Dataset, case: Case, run: TrialRun) -> dict[str, Any]:
    """Train by stochastic gradient descent until the loss over all samples is low enough.

    Parameters
    ----------
    model
        Trained in place.
    samples, data
        What it is trained on; the dataset that they are of, whose loss it is.
    case
        Its ``batch_size``, ``learning_rate``, ``target_loss``, ``check_every`` (steps) and ``max_steps``.
    run
        The trial's device, seed and checkpoint.

    Returns
    -------
    dict
        ``steps``: how many it took; None where ``max_steps`` were not enough. ``loss``: the loss at the end.
    """
    model.to(run.device)
    goal = _LowLoss(case, run, samples, data)
    history = fit(
        model,
        samples.epochs(case.batch_size, seed=run.seed),
        data.loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate),
        # Each epoch makes a step at least.
        epochs=case.max_steps,
        callbacks=[goal],
        checkpoint=Checkpoint(run.checkpoint, every_steps=SAVED_EVERY),
        seed=run.seed,
    )
    return {"steps": len(history.loss) if goal.reached else None, "loss": goal.loss}


@final
class _LowLoss(Callback):
    """Ends the training where the loss over all samples is low enough, or the steps are used up."""

    def __init__(self, case: Case, run: TrialRun, samples: Samples, data: Dataset) -> None:
        self.case, self.run, self.data = case, run, data
        self.inputs, self.targets = samples.inputs.to(run.device), samples.targets.to(run.device)
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
            self.loss = float(self.data.loss(state.model(self.inputs), self.targets))
        state.stop = self.reached or last
        self.run.progress(state.step / self.case.max_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the last loss."""
        return {"loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.loss = state["loss"]
