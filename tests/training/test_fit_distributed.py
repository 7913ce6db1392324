"""Training in several processes: the same as in one, and what the processes must agree in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional

from deepscope.core import DataError, UsageError
from deepscope.training import Callback, Checkpoint, GradientClipping, _shards, fit, fit_distributed

PARALLEL = Path(__file__).with_name("parallel.py")
#: Twelve updates of weights of order 1 in float64, whose gradients are summed in another order; Adam divides by
#: gradients that may be a thousandth of the largest.
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-11}


def run(folder: Path, *plans: dict[str, Any], torchrun: bool = False, processes: int = 2, dies: bool = False) -> None:
    options = ["--standalone", "--max-restarts=1", f"--nproc-per-node={processes}"]
    launcher = ["-m", "torch.distributed.run", *options] if torchrun else []
    done = subprocess.run(
        [sys.executable, *launcher, str(PARALLEL), str(folder), json.dumps(plans)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        check=False,
    )
    assert (done.returncode != 0) == dies, done.stderr


def found(folder: Path, name: str = "found") -> list[dict[str, Any]]:
    return [torch.load(folder / f"{name}{rank}.pt") for rank in range(2)]


def assert_same(one: dict[str, Any], other: dict[str, Any], **tolerance: Any) -> None:
    torch.testing.assert_close(one["model"], dict(other["model"]), **tolerance)
    torch.testing.assert_close(one["history"]["steps"], other["history"]["steps"], **tolerance)
    for mine, theirs in zip(one["history"]["epochs"], other["history"]["epochs"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-10)


@pytest.mark.verify
def test_two_processes_make_the_updates_of_one_and_must_agree(tmp_path: Path) -> None:
    """Uneven parts with unequal numbers of terms, clipping, synchronised normalisation and Adam, beside ``fit``."""
    bad = ("order", "shorter", "small", "rate", "normalisation")
    run(
        tmp_path,
        {},
        {"alone": True, "name": "alone"},
        {"stop": 5, "name": "stopped"},
        *({"bad": what, "name": what} for what in bad),
    )
    alone, both = found(tmp_path, "alone")[0], found(tmp_path)
    for each in both:
        assert_same(each, alone, **EXACT)
        # Whole batches, whose terms are counted; the last has 6 samples.
        assert each["history"]["steps"][1].sum() == 3 * 25
    # To the last bit the same in both, and only the first has shown it.
    assert_same(both[0], both[1], rtol=0, atol=0)
    assert both[0]["shown"] > 0 == both[1]["shown"]
    # What ends in one ends in both.
    assert [each["history"]["steps"].shape[1] for each in found(tmp_path, "stopped")] == [5, 5]
    for what, error in (
        (
            "order",
            "DataError: process 0 is given a batch of 8, and process 1 a batch of 8 with other values: epoch 0, b",
        ),
        ("shorter", "DataError: process 0 is given a batch of 6, and process 1 no more batches: epoch 0, batch 3"),
        ("small", "DataError: a batch of 1 cannot be shared among 2 processes: epoch 0, batch 0"),
        ("rate", "UsageError: optimizer lr of group 0 is 0.02 in process 0 and 0.04 in process 1: fit_distributed"),
        ("normalisation", "UsageError: 0 is a BatchNorm1d: each process would normalise its part by itself"),
    ):
        for each in found(tmp_path, what):
            assert each["error"].startswith(error)


@pytest.mark.verify
def test_runs_of_torchrun_that_were_killed_go_on_bit_for_bit(tmp_path: Path) -> None:
    """With dropout, which each process draws for itself; killed between two checkpoints, and right at one."""
    # Several runs of one process, each with a group of its own, which must not meet that of the run before.
    again = [{"name": f"again{number}"} for number in range(10)]
    plans = {"dropout": 0.3, "name": "whole"}, {"name": "plain"}, *again, {"alone": True, "name": "alone"}
    run(tmp_path, *plans, torchrun=True)
    whole = found(tmp_path, "whole")
    assert_same(whole[0], whole[1], rtol=0, atol=0)
    plain = found(tmp_path, "plain")
    assert_same(plain[0], found(tmp_path, "alone")[0], **EXACT)
    for plan in again:
        assert_same(found(tmp_path, plan["name"])[1], plain[0], rtol=0, atol=0)
    for step in (5, 6):
        folder = tmp_path / str(step)
        folder.mkdir()
        plan = {"dropout": 0.3, "checkpoint": True}
        run(folder, {**plan, "kill": step}, torchrun=True, dies=True)
        assert (folder / "run.pt").exists()
        assert not list(folder.glob("found*"))
        run(folder, plan, torchrun=True)
        for one, other in zip(found(folder), whole, strict=True):
            assert_same(one, other, rtol=0, atol=0)
    # torchrun starts the processes anew where one dies, and they meet anew.
    folder = tmp_path / "restarted"
    folder.mkdir()
    run(folder, {**plan, "kill": 5, "restarts": True}, torchrun=True)
    for one, other in zip(found(folder), whole, strict=True):
        assert_same(one, other, rtol=0, atol=0)
    # Another number of processes would draw other numbers.
    run(folder, {**plan, "name": "fewer"}, torchrun=True, processes=1)
    assert "processes is 1 here and 2 in the checkpoint" in torch.load(folder / "fewer0.pt")["error"]


def test_without_torchrun_it_is_fit() -> None:
    model, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    x, y = torch.randn(9, 3), torch.arange(9) % 2
    histories = [
        train(
            each,
            lambda epoch: [(x, y)],
            functional.cross_entropy,
            optimizer=torch.optim.SGD(each.parameters(), lr=0.1),
            epochs=3,
            count=lambda targets: 7,
        )
        for train, each in ((fit_distributed, model), (fit, twin))
    ]
    assert histories[0] == histories[1]
    assert torch.equal(model.weight, twin.weight)


@pytest.fixture
def group(tmp_path: Path):
    """A group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


X = torch.randn(15, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.where(torch.arange(15) % 4 == 0, -100, (X[:, 0] > 0).long())


def counted(targets: torch.Tensor) -> torch.Tensor:
    return (targets != -100).sum()


def batches(epoch: int):
    order = torch.randperm(15, generator=torch.Generator().manual_seed(epoch))
    return [(X[chosen], Y[chosen]) for chosen in order.split(6)]


class Interrupt(Callback):
    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step(self, state) -> None:
        assert isinstance(state.model, nn.Sequential)
        if state.step == self.step:
            raise KeyboardInterrupt


def train(way: Any, *, checkpoint: Checkpoint | None = None, stop: int | None = None, **changed: Any):
    torch.manual_seed(0)
    model = changed.pop("model", nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 2))).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    given = {"data": batches, "count": counted, "epochs": 3, "checkpoint": checkpoint, **changed}
    history = way(
        model,
        loss=functional.cross_entropy,
        optimizer=optimizer,
        callbacks=[GradientClipping(0.5), Interrupt(stop)],
        **given,
    )
    return model.state_dict(), history


@pytest.mark.usefixtures("group")
def test_a_group_of_one_is_fit_bit_for_bit_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    expected, history = train(fit)
    weights, same = train(fit_distributed)
    assert same == history
    checkpoint = Checkpoint(tmp_path / "run.pt", every_steps=2)
    with pytest.raises(KeyboardInterrupt):
        train(fit_distributed, checkpoint=checkpoint, stop=5)
    resumed, same = train(fit_distributed, checkpoint=checkpoint)
    assert same == history
    for name, value in expected.items():
        assert torch.equal(value, weights[name])
        assert torch.equal(value, resumed[name])
    # What is saved has the names of the model itself.
    assert torch.load(checkpoint.path)["model"].keys() == expected.keys()


@pytest.mark.usefixtures("group")
def test_bad_input_is_named() -> None:
    for changed, error, what in (
        ({"data": [(X, Y)]}, UsageError, "data must be a function"),
        ({"data": lambda epoch: [X]}, DataError, "a batch is a Tensor, not a pair"),
        ({"data": lambda epoch: []}, DataError, "no batches"),
        ({"data": lambda epoch: [(X[:0], Y[:0])]}, DataError, "a batch of 0 cannot be shared among 1 processes"),
        ({"model": nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))}, UsageError, "0 is a BatchNorm1d"),
    ):
        with pytest.raises(error, match=what):
            train(fit_distributed, **changed)


@pytest.mark.parametrize("size", [2, 3])
def test_parts_are_the_whole_batch_and_so_is_the_mean_of_their_gradients(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process in turn, whose messages come back as they were sent."""
    model = nn.Linear(3, 2).double()

    class Echo:
        def __init__(self, rank: int) -> None:
            self.get_rank, self.get_world_size = lambda: rank, lambda: size

        def all_reduce(self, tensor: torch.Tensor) -> None:
            pass

        def all_gather(self, found: list[torch.Tensor], mine: torch.Tensor) -> None:
            for each in found:
                each.copy_(mine)

    def ignored_but_one(epoch: int):
        # Parts without a term: a mean over none is no number.
        return [(X[:9], torch.where(torch.arange(9) == 4, 1, -100))]

    def flattened(epoch: int):
        # Three targets for each sample, as of a language model.
        return [(X[:7], torch.arange(21) % 2)]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        each = len(targets) // len(outputs)
        return functional.cross_entropy(outputs.repeat_interleave(each, 0), targets)

    for data, count in ((batches, counted), (ignored_but_one, counted), (flattened, None)):
        whole = data(0)
        parts, gradients = [], []
        for rank in range(size):
            monkeypatch.setattr(_shards, "distributed", Echo(rank))
            shards = _shards.Shards(data, loss, count, torch.device("cpu"))
            for index, (inputs, targets) in enumerate(shards.data(0)):
                value = shards.loss(model(inputs), targets)
                parts.append((index, inputs, targets))
                gradients.append((index, torch.autograd.grad(value, model.weight)[0]))
        for index, (inputs, targets) in enumerate(whole):
            own = [(x, y) for at, x, y in parts if at == index]
            assert torch.equal(torch.cat([x for x, _ in own]), inputs)
            assert torch.equal(torch.cat([y for _, y in own]), targets)
            assert max(len(x) for x, _ in own) - min(len(x) for x, _ in own) <= 1
            (expected,) = torch.autograd.grad(loss(model(inputs), targets), model.weight)
            mean = torch.stack([gradient for at, gradient in gradients if at == index]).mean(0)
            # Sums of at most 21 terms of order 1.
            torch.testing.assert_close(mean, expected, rtol=0, atol=1e-14)
