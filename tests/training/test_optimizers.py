"""What every optimiser promises beside its recursion: it resumes bit for bit, and names what it cannot take."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import SAM, VSGD, Callback, Checkpoint, SaddleFreeNewton, adan, cosine, fit, lion, muon
from deepscope.training import with_closure as closing

Build = Callable[[list[nn.Parameter], Any], torch.optim.Optimizer]

OURS: dict[str, Build] = {
    "adan": lambda weights, closure: adan(weights, 0.02, weight_decay=0.1),
    "lion": lambda weights, closure: lion(weights, 0.01, weight_decay=0.1),
    "vsgd": lambda weights, closure: VSGD(weights, 0.02, weight_decay=0.1),
    "sam": lambda weights, closure: SAM(weights, torch.optim.Adam, closure=closure(True), lr=0.02),
    "saddle-free": lambda weights, closure: SaddleFreeNewton(weights, 0.5, rank=4, closure=closure(False)),
    "muon": lambda weights, closure: muon(weights, 0.02),
}


def train(build: Build, path: Path, *callbacks: Callback) -> tuple[list[float], list[torch.Tensor], Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Dropout(0.2), nn.Tanh(), nn.Linear(4, 2, bias=False))
    generator = torch.Generator().manual_seed(1)
    x, labels = torch.randn(12, 3, generator=generator), torch.randint(2, (12,), generator=generator)
    batches = [(x[:6], labels[:6]), (x[6:], labels[6:])]
    loss, data, closures = nn.functional.cross_entropy, lambda epoch: batches, []

    def closure(backward: bool) -> Any:
        closures[:] = closing(model, data, loss, backward=backward)
        return closures[1]

    optimizer = build(list(model.parameters()), closure)
    history = fit(
        model,
        closures[0] if closures else data,
        loss,
        optimizer=optimizer,
        epochs=5,
        schedule=cosine(20),
        callbacks=callbacks,
        checkpoint=Checkpoint(path, every_steps=1),
    )
    return history.loss, [each.detach().clone() for each in model.parameters()], optimizer.state_dict()


def flat(value: Any) -> list[Any]:
    """Numbers in a nested state, in order."""
    if isinstance(value, dict):
        return [item for key in sorted(value, key=str) for item in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [item for each in value for item in flat(each)]
    return value.flatten().tolist() if isinstance(value, torch.Tensor) else [value]


class PlantedError(Exception):
    """Planted in the middle of an epoch."""


class Interrupt(Callback):
    def __init__(self, at: int | None) -> None:
        self.at = at

    def on_gradients(self, state: Any) -> None:
        if state.step == self.at:
            raise PlantedError


@pytest.mark.parametrize("name", OURS)
def test_an_interrupted_run_ends_bit_for_bit_like_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    losses, weights, state = train(OURS[name], tmp_path / "whole.pt", Interrupt(at=None))
    assert len(losses) == 10
    with pytest.raises(PlantedError):
        train(OURS[name], tmp_path / "cut.pt", Interrupt(at=5))
    again = train(OURS[name], tmp_path / "cut.pt", Interrupt(at=None))
    assert again[0] == losses
    for one, other in zip(again[1], weights, strict=True):
        assert torch.equal(one, other)
    assert flat(again[2]) == flat(state)


@pytest.mark.parametrize("name", OURS)
def test_parameters_that_cannot_be_trained_are_named(name: str) -> None:
    def build(weights: Any) -> torch.optim.Optimizer:
        return OURS[name](weights, lambda backward: None)

    for weights, message in (
        ([], "no parameters"),
        ([{"params": []}], "no parameters"),
        ([torch.zeros(2, 2)], "requires_grad"),
        ([3.0], "a parameter is a float"),
        (nn.Parameter(torch.zeros(2, 2)), "one tensor"),
    ):
        with pytest.raises(UsageError, match=message):
            build(weights)
    frozen, trained = torch.zeros(2, 2), nn.Parameter(torch.ones(2, 2))
    optimizer = build([frozen, trained])
    with pytest.raises(UsageError, match=r"gradient|closure"):
        optimizer.step()
    assert torch.equal(trained.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("name", [each for each in OURS if each not in ("sam", "saddle-free")])
def test_a_step_with_a_closure_computes_the_gradient_and_returns_the_loss(name: str) -> None:
    with_it, without = (nn.Parameter(torch.tensor([[1.0, -2.0]])) for _ in range(2))
    optimizer = OURS[name]([with_it], None)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = with_it.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5.0
    assert optimizer.step(closure=closure).item() < 5.0
    other = OURS[name]([without], None)
    for _ in range(2):
        without.grad = 2 * without.detach()
        other.step()
    assert torch.equal(with_it, without)


def test_groups_have_settings_of_their_own_and_may_be_iterators() -> None:
    one, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = lion([{"params": iter([one]), "lr": 0.5}, {"params": other}], lr=0.1)
    one.grad, other.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (one.item(), round(other.item(), 6)) == (0.5, 0.9)


def test_numbers_out_of_range_are_named() -> None:
    weights = [nn.Parameter(torch.zeros(2, 2))]
    for build in (adan, lion, VSGD, SaddleFreeNewton):
        for rate in (-1.0, math.nan, math.inf):
            with pytest.raises(UsageError, match="lr"):
                build(weights, lr=rate)
    for build, betas in ((adan, (0.9, 0.9)), (adan, (0.9, 0.9, 1.0)), (lion, (-0.1, 0.9)), (lion, (0.9, math.nan))):
        with pytest.raises(UsageError, match="betas"):
            build(weights, betas=betas)
    for build in (adan, lion):
        with pytest.raises(UsageError, match="weight_decay"):
            build(weights, weight_decay=-0.1)


def test_a_groups_own_numbers_out_of_range_are_named() -> None:
    one, other = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))
    for build, name, value in (
        (adan, "betas", (0.9, 0.9, 1.0)),
        (lion, "betas", (0.9, 1.5)),
        (muon, "momentum", 1.0),
        (VSGD, "forgetting", (0.1, 0.9)),
        (lambda groups: SAM(groups, torch.optim.SGD, lr=0.1), "rho", -1.0),
        *((build, "lr", -1.0) for build in (adan, lion, muon, VSGD)),
    ):
        with pytest.raises(UsageError, match=name):
            build([{"params": [one]}, {"params": [other], name: value}])
    with pytest.raises(UsageError, match="rank"):
        SaddleFreeNewton([{"params": [one], "rank": 0}])
    for betas in (0.9, ("a", 0.9, 0.9)):
        with pytest.raises(UsageError, match=r"betas is .*\n.*3 numbers"):
            adan([one], betas=betas)


@pytest.mark.parametrize("name", OURS)
def test_what_they_cannot_step_with_is_named(name: str) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2).to_sparse()
    # Saddle-free Newton differentiates by itself.
    if name != "saddle-free":
        with pytest.raises(UsageError, match="a gradient is sparse"):
            OURS[name]([weight], lambda backward: lambda: None).step()
        assert torch.equal(weight.detach(), torch.ones(2, 2))
    if name in ("vsgd", "saddle-free", "muon"):
        with pytest.raises(UsageError, match="complex64"):
            OURS[name]([nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))], lambda backward: None)
    if name == "vsgd":
        with pytest.raises(UsageError, match="prior_strength is 1e-08"):
            VSGD([nn.Parameter(torch.ones(2, dtype=torch.float16))])
    if name == "saddle-free":
        with pytest.raises(UsageError, match="float32 or float64"):
            SaddleFreeNewton([nn.Parameter(torch.ones(2, dtype=torch.float16))])


@pytest.mark.parametrize("name", [each for each in OURS if each not in ("adan", "lion")])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_goes_on_by_itself_and_without_a_closure(name: str, copied: Callable[[Any], Any]) -> None:
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))

    def evaluate(of: torch.Tensor, backward: bool) -> torch.Tensor:
        of.grad = None
        loss = (of**2).sum()
        if backward:
            loss.backward()
        return loss

    optimizer = OURS[name]([weight], lambda backward: math.nan)
    needs = name in ("sam", "saddle-free")
    for _ in range(2):
        evaluate(weight, backward=True)
        optimizer.step(lambda: evaluate(weight, backward=name == "sam")) if needs else optimizer.step()
    other = copied(optimizer)
    of = other.param_groups[0]["params"][0]
    assert of is not weight
    assert torch.equal(of, weight)
    if needs:
        of.grad = torch.ones_like(of)
        with pytest.raises(UsageError, match="no closure"):
            other.step()
    for each, made in ((weight, optimizer), (of, other)):
        evaluate(each, backward=True)
        made.step(lambda each=each: evaluate(each, backward=name == "sam")) if needs else made.step()
    assert torch.equal(of, weight)
    # And what the copy does is not done to what it is of.
    evaluate(of, backward=True)
    other.step(lambda: evaluate(of, backward=name == "sam")) if needs else other.step()
    assert not torch.equal(of, weight)


def test_libraries_of_optimisers_and_of_solvers_wait_until_one_is_used() -> None:
    late = {"pytorch_optimizer", "torchdiffeq"}
    code = f"import sys, deepscope.models, deepscope.training; sys.exit(bool({late} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
