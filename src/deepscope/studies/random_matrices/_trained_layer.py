"""What training does to the spectrum of a hidden layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.data import Dataset, load
from deepscope.models import MLP
from deepscope.studies.random_matrices._layer_parts import (
    accuracy,
    layer_inputs,
    outputs,
    overlaps,
    parts,
    without_parts,
)
from deepscope.studies.random_matrices._random_matrices import (
    Floats,
    compare,
    draw_entries,
    gaussian_null,
    shuffled,
)
from deepscope.training import Callback, Checkpoint, TrainingState, fit

#: Variance of the initial weights, from a layer's number of inputs and outputs.
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "he": lambda n_in, n_out: 2 / n_in,
}


def train(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train a network from random weights and return what became of the square layer.

    Returns
    -------
    dict
        By epoch (``epoch``): ``spikes`` and ``first_layer_spikes``. The square layer's singular values in units of σ√N:
        ``trained``, ``shuffled``. Its KS distances over the Gaussian null's: ``initial_distance``, ``trained_distance``
        and ``shuffled_distance``, the mean over the shuffled matrices; ``shuffled_spikes``: their mean count.
        ``train_accuracy``, and what ``without_parts`` and ``overlaps`` return.
    """
    data, rng = load(case.data), np.random.default_rng(run.seed)
    model = network(data, case, rng).to(run.device)
    initial = model.hidden2.weight.detach().cpu().clone()
    course = _Course(run, case.epochs, model)
    fit(
        model,
        data.train.epochs(case.batch_size, seed=run.seed),
        data.loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=0.9),
        epochs=case.epochs,
        callbacks=[course],
        checkpoint=Checkpoint(run.checkpoint, every_steps=2000),
        seed=run.seed,
    )
    model.cpu()
    matrix = _array(model.hidden2.weight)
    trained = compare(matrix)
    permuted = [compare(shuffled(matrix, rng)) for _ in range(case.shuffles)]
    limit = run.shared(gaussian_null, rows=case.width, cols=case.width, draws=case.null_draws)["distance"]
    inputs = layer_inputs(model, data.train)
    return {
        **course.curves(),
        "trained": trained.singular_values,
        "shuffled": permuted[0].singular_values,
        "initial_distance": compare(_array(initial)).distance / limit,
        "trained_distance": trained.distance / limit,
        "shuffled_distance": float(np.mean([each.distance for each in permuted])) / limit,
        "shuffled_spikes": float(np.mean([each.n_spikes for each in permuted])),
        "train_accuracy": accuracy(outputs(model, data.train), data.train.targets),
        **without_parts(model, parts(model.hidden2.weight.detach(), initial, inputs, trained.n_spikes, rng), data.test),
        **overlaps(model.hidden2.weight.detach(), inputs, data.train.targets, trained.n_spikes),
    }


def network(data: Dataset, case: Case, rng: np.random.Generator) -> Any:
    """Return inputs → width → width → classes with ReLU, without biases, with independent entries of the case's kind.

    Raises
    ------
    UsageError
        Unknown entries, or an unknown variance.
    """
    if case.variance not in VARIANCES:
        raise UsageError("unknown variance", where=case.variance, todo=nearest(case.variance, VARIANCES))
    model = MLP(data.train.inputs[0].numel(), [case.width, case.width], len(data.classes), bias=False)
    with torch.no_grad():
        for parameter in model.parameters():
            n_out, n_in = parameter.shape
            scale = math.sqrt(VARIANCES[case.variance](n_in, n_out))
            parameter.copy_(torch.from_numpy(scale * draw_entries(case.entries, (n_out, n_in), rng)))
    return model


@final
class _Course(Callback):
    """Counts the spikes of both hidden layers before training, after 1, 2, 4, 8 … epochs, and at the end."""

    def __init__(self, run: TrialRun, epochs: int, model: Any) -> None:
        self.run, self.epochs = run, epochs
        self.rows = [self._counted(0, model)]

    def _counted(self, epoch: int, model: Any) -> list[int]:
        return [epoch, *(compare(_array(layer.weight)).n_spikes for layer in (model.hidden2, model.hidden1))]

    def on_epoch_end(self, state: TrainingState) -> None:
        """Count where the number of epochs is a power of two, or the last."""
        done = state.epoch + 1
        if done & (done - 1) == 0 or done == self.epochs:
            self.rows.append(self._counted(done, state.model))
        self.run.progress(done / self.epochs)

    def curves(self) -> dict[str, Any]:
        """Return the counts by epoch."""
        return dict(zip(("epoch", "spikes", "first_layer_spikes"), np.array(self.rows).T, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts so far."""
        return {"rows": torch.tensor(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.rows = state["rows"].tolist()


def _array(weight: Tensor) -> Floats:
    found: Floats = weight.detach().cpu().double().numpy()
    return found
