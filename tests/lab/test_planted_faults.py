"""Faults planted in a network are found, named in plain words, and at the right place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

import deepscope
from deepscope import Examination, Subject
from deepscope.data import load
from deepscope.training import fit


def trained(model: nn.Module, steps_epochs: int = 8) -> nn.Module:
    digits = load("digits")
    fit(
        model,
        digits.train.epochs(64, seed=0),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        epochs=steps_epochs,
    )
    return model


def mlp(activation: Callable[[], nn.Module] = nn.ReLU, depth: int = 3, width: int = 64) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [part for _ in range(depth - 1) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), activation(), *hidden, nn.Linear(width, 10))


def examined(model: nn.Module) -> Examination:
    return deepscope.examine(Subject(model, load("digits").test.batches(128), functional.cross_entropy))


def found(examination: Examination, severity: str) -> dict[str, str]:
    return {f.where: f.message for f in examination.findings if f.severity == severity}


def test_the_trained_network_that_faults_are_planted_in_is_healthy() -> None:
    examination = examined(trained(mlp()))
    assert found(examination, "problem") == {}
    assert found(examination, "warning") == {}


def test_a_nan_weight() -> None:
    model = trained(mlp(), 1)
    with torch.no_grad():
        model[3].weight[2, 5] = torch.nan
    messages = found(examined(model), "problem")
    assert "NaN" in messages["3.weight"]


def test_an_all_zero_layer() -> None:
    model = trained(mlp(), 1)
    with torch.no_grad():
        model[3].weight.zero_()
    assert "all zero" in found(examined(model), "problem")["3.weight"]


def test_an_untrained_layer_among_trained_ones() -> None:
    model = trained(mlp())
    torch.manual_seed(1)
    model[3].reset_parameters()
    warnings = found(examined(model), "warning")
    assert "untrained" in warnings["3.weight"]
    assert "1.weight" not in warnings


def test_dead_relus() -> None:
    model = trained(mlp(), 1)
    with torch.no_grad():
        model[3].bias.fill_(-100)
    problems = found(examined(model), "problem")
    assert any("dead" in message and where in {"3", "4"} for where, message in problems.items())


def test_dead_relus_without_relu_modules() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(torch.relu(self.first(x.flatten(1))))

    torch.manual_seed(0)
    model = Functional()
    with torch.no_grad():
        model.first.bias.fill_(-100)
    assert "dead" in found(examined(model), "problem")["first"]


def test_a_sigmoid_stack_whose_gradients_vanish() -> None:
    messages = found(examined(mlp(nn.Sigmoid, depth=12)), "problem")
    assert any("vanish" in message for message in messages.values())


def test_a_relu_stack_of_the_same_depth_is_healthy() -> None:
    model = mlp(nn.ReLU, depth=12)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    assert found(examined(model), "problem") == {}


def test_an_exploding_stack() -> None:
    model = mlp(nn.Tanh, depth=12)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=4 / 8)
    model = nn.Sequential(*(m for m in model if not isinstance(m, nn.Tanh)))
    messages = found(examined(model), "problem")
    assert any("explod" in message for message in messages.values())


def test_two_tied_matrices_and_two_equal_ones() -> None:
    model = mlp()
    model[5].weight = model[3].weight
    tied = found(examined(model), "note")
    assert "tied" in tied["3.weight"]
    assert "5.weight" in tied["3.weight"]
    model = mlp()
    with torch.no_grad():
        model[5].weight.copy_(model[3].weight)
    assert "same values" in found(examined(model), "note")["3.weight"]


@pytest.mark.parametrize("how", ["zero weights", "dead input"])
def test_a_constant_output(how: str) -> None:
    model = trained(mlp(), 1)
    with torch.no_grad():
        if how == "zero weights":
            model[-1].weight.zero_()
        else:
            model[5].bias.fill_(-100)
    messages = [f.message for f in examined(model).problems]
    assert any(
        "constant" in message or "same output" in message or "does not depend" in message for message in messages
    )
