"""A deep and narrow network, its training, and what its hidden layers make of points."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, TrialRun
from deepscope.training import Callback, TrainingState, fit

#: Above 1 a tanh network's signal does not die out with depth.
_TANH_GAIN = 1.2
#: By name.
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def network(activation: str, inputs: int, *, depth: int, width: int, generator: torch.Generator) -> nn.Sequential:
    """Return a fresh network with two outputs: orthogonal weights of gain 1.2 for tanh, He's for ReLU, biases of 0."""
    layers: list[nn.Module] = []
    for place in range(depth):
        layer = nn.Linear(width if place else inputs, width)
        if activation == "tanh":
            nn.init.orthogonal_(layer.weight, gain=_TANH_GAIN, generator=generator)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation]()]
    last = nn.Linear(width, 2)
    nn.init.orthogonal_(last.weight, generator=generator)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def representations(model: nn.Sequential, points: Tensor) -> list[Tensor]:
    """Return the points, what each hidden layer makes of them after its activation, and the outputs."""
    found = [points]
    value = points
    with torch.no_grad():
        for layer in model:
            value = layer(value)
            if type(layer) in ACTIVATIONS.values():
                found.append(value)
    return [*found, value]


def train(model: nn.Sequential, points: Tensor, classes: Tensor, case: Case, run: TrialRun) -> dict[str, float]:
    """Train by Adam on all points until the loss is low and every point is right, or the steps are used up."""
    course = _UntilFitted(points, classes, case.loss)
    fit(
        model,
        lambda _: [(points, classes)],
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate),
        epochs=case.steps,
        callbacks=[course],
        seed=run.seed,
    )
    return {"steps_taken": course.steps, "final_loss": course.loss, "accuracy": course.accuracy}


class _UntilFitted(Callback):
    def __init__(self, points: Tensor, classes: Tensor, enough: float) -> None:
        self._points, self._classes, self._enough = points, classes, enough
        self.steps, self.loss, self.accuracy = 0, float("inf"), 0.0

    def on_epoch_end(self, state: TrainingState) -> None:
        """Measure on all points; end the run when they are fitted."""
        with torch.no_grad():
            outputs = state.model(self._points)
        self.steps += 1
        self.loss = float(functional.cross_entropy(outputs, self._classes))
        self.accuracy = float((outputs.argmax(1) == self._classes).float().mean())
        state.stop = self.loss < self._enough and self.accuracy == 1
