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
from deepscope.instruments import INSTRUMENTS
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


def examined(model: nn.Module, *, by_all: bool = False) -> Examination:
    subject = Subject(model, load("digits").test.batches(128), functional.cross_entropy)
    # These two take most of the time and look for none of what is planted.
    instruments = None if by_all else [each for each in INSTRUMENTS if each.name not in {"information", "topology"}]
    return deepscope.examine(subject, budget="quick", instruments=instruments)


def found(examination: Examination, severity: str) -> dict[str, str]:
    """Return by place what is said of it, by all instruments."""
    messages: dict[str, str] = {}
    for finding in examination.findings:
        if finding.severity == severity:
            messages[finding.where] = f"{messages.get(finding.where, '')} {finding.message}".strip()
    return messages


def test_the_trained_network_that_faults_are_planted_in_is_healthy() -> None:
    examination = examined(trained(mlp()), by_all=True)
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


@pytest.mark.parametrize(
    "rectify", [torch.relu, lambda x: x.clamp(min=0), lambda x: torch.maximum(x, torch.zeros_like(x))]
)
def test_dead_relus_without_relu_modules(rectify: Callable[[torch.Tensor], torch.Tensor]) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(rectify(self.first(x.flatten(1))))

    torch.manual_seed(0)
    model = Functional()
    with torch.no_grad():
        model.first.bias.fill_(-100)
    assert "dead" in found(examined(model), "problem")["first"]


def test_a_sigmoid_stack_whose_gradients_vanish() -> None:
    messages = found(examined(mlp(nn.Sigmoid, depth=12)), "problem")
    assert any("vanish" in message for message in messages.values())


@pytest.mark.parametrize(("activation", "depth"), [(nn.GELU, 8), (nn.SiLU, 8), (nn.ReLU, 12)])
def test_a_deep_stack_that_trains_all_the_same_is_no_problem(activation: type[nn.Module], depth: int) -> None:
    assert found(examined(mlp(activation, depth=depth)), "problem") == {}


def test_gradients_that_explode_within_a_recurrent_layer() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.RNN(1, 32, batch_first=True, nonlinearity="relu"), nn.Linear(32, 10)
            nn.init.orthogonal_(self.cell.weight_hh_l0)
            with torch.no_grad():
                self.cell.weight_hh_l0.mul_(2.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.cell(x.flatten(1)[..., None])[0][:, -1])

    torch.manual_seed(0)
    problems = found(examined(Rows()), "problem")
    assert list(problems) == ["cell"]
    assert "explode" in problems["cell"]


def test_a_model_that_ignores_its_tokens() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.position, self.out = nn.Embedding(20, 16), nn.Embedding(12, 16), nn.Linear(16, 20)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.out((0 * self.embed(ids) + self.position(torch.arange(ids.shape[1]))).tanh())

    torch.manual_seed(0)
    ids = torch.randint(20, (40, 12))
    loss = lambda logits, targets: functional.cross_entropy(logits.flatten(0, 1), targets.flatten())  # noqa: E731
    problems = found(deepscope.examine(Subject(Deaf(), [(ids, ids)], loss), budget="quick"), "problem")
    assert any("constant" in message for message in problems.values())


def test_a_part_is_not_blamed_for_what_lies_outside_of_it() -> None:
    model = mlp()
    nn.init.zeros_(model[-1].weight)
    subject = Subject(model, load("digits").test.batches(128), functional.cross_entropy)
    # Of the part alone the kernel and others say as much, of theirs.
    problems = found(deepscope.examine(subject.only("1"), instruments=["anatomy", "spectrum", "health"]), "problem")
    assert list(problems) == [""]
    assert "outside the chosen part" in problems[""]


def test_tensors_that_are_only_added_may_be_zero() -> None:
    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pos_embed, self.cls_token = nn.Parameter(torch.zeros(1, 8, 16)), nn.Parameter(torch.zeros(1, 1, 16))
            self.embed, self.out = nn.Linear(8, 16), nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x.squeeze(1)) + self.pos_embed
            # Behind a ReLU a token of zeros would learn nothing, and that would be said.
            return self.out(functional.gelu(torch.cat([x, self.cls_token.expand(len(x), -1, -1)], 1)).mean(1))

    torch.manual_seed(0)
    examination = examined(Added())
    assert found(examination, "problem") == {}
    assert found(examination, "warning") == {}
    assert "adds nothing" in found(examination, "note")["pos_embed"]


def test_a_relu_stack_of_the_same_depth_is_healthy() -> None:
    model = mlp(nn.ReLU, depth=12)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    assert found(examined(model, by_all=True), "problem") == {}


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
