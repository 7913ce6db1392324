from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from deepscope.core import DataError, TargetError, UsageError
from deepscope.training import Callback, Checkpoint, GradientClipping, History, cosine, fit, step_decay

INTERRUPTED = Path(__file__).with_name("interrupted.py")
X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def interrupt(folder: Path, **plan: object) -> tuple[list[dict[str, Any]], list[Path]]:
    done = subprocess.run(
        [sys.executable, str(INTERRUPTED), str(folder), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), sorted(folder.glob("result*.pt"))


MOMENTS = [
    *(("start", 0), ("gradients", 0), ("step", 2), ("gradients", 3), ("step", 3), ("write", 3)),
    *(("write", 6), ("epoch", 10), ("gradients", 10), ("step", 17), ("write", 20), ("step", 29), ("epoch", 30)),
]


@pytest.mark.parametrize(("data", "moments"), [("pure", MOMENTS[2:8:2]), ("loader", MOMENTS)])
def test_killed_runs_end_bit_for_bit_like_an_undisturbed_one(
    tmp_path: Path, data: str, moments: list[tuple[str, int]]
) -> None:
    killed, results = interrupt(tmp_path, data=data, moments=moments)
    assert all(kill["signal"] == 9 and not kill["had_result"] for kill in killed), killed
    assert len(results) == len(moments)
    undisturbed = torch.load(tmp_path / "undisturbed.pt")
    assert len(undisturbed["history"]["epochs"]) == 3
    for number, moment in enumerate(moments):
        assert same(torch.load(tmp_path / f"result{number}.pt"), undisturbed), moment
    assert not list(tmp_path.glob(".*"))


@pytest.mark.verify
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_runs_killed_at_random_moments_end_bit_for_bit_alike(tmp_path: Path, seed: int) -> None:
    killed, results = interrupt(tmp_path, data="loader", random=8, seed=seed)
    assert sum(kill["signal"] == 9 for kill in killed) >= 4
    assert any(kill["saved"] for kill in killed)
    undisturbed = torch.load(tmp_path / "undisturbed.pt")
    assert [result.name for result in results] == ["result0.pt", "result_timed.pt"]
    assert all(same(torch.load(result), undisturbed) for result in results)


def data(epoch: int):
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    for chosen in order.split(6):
        yield X[chosen], Y[chosen]


class Stop(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state) -> None:
        if state.step == self.step:
            raise KeyboardInterrupt


def run(
    checkpoint: Checkpoint | None, *, stop: int = -1, width: int = 8, lr: float = 0.1, data: Callable = data, **changed
) -> tuple[nn.Module, torch.optim.Optimizer, History]:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    settings = {"epochs": 2, "schedule": cosine(8), "callbacks": [Stop(stop)], **changed}
    loss = settings.pop("loss", functional.cross_entropy)
    history = fit(model, data, loss, optimizer=optimizer, checkpoint=checkpoint, **settings)
    return model, optimizer, history


def interrupted(checkpoint: Checkpoint, stop: int = 6, **changed) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, stop=stop, **changed)


def outcome(model: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history.to_plain()}


NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and there is none")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)])
@pytest.mark.parametrize("stop", [1, 4, 5, 7])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, device: str, stop: int) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=2)
    interrupted(checkpoint, stop, device=device)
    assert Path(checkpoint.path).exists() == (stop >= 2)
    assert same(outcome(*run(checkpoint, device=device)), outcome(*run(None, device=device)))


def test_a_finished_run_is_not_run_again_and_can_be_prolonged(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "folder" / "run.ckpt")
    first = outcome(*run(checkpoint))

    def no_data(epoch: int):
        raise AssertionError("data asked for")

    assert same(outcome(*run(checkpoint, data=no_data)), first)
    longer = outcome(*run(checkpoint, epochs=4))
    assert same(longer, outcome(*run(None, epochs=4)))
    assert not same(longer, first)
    with pytest.raises(UsageError, match="beyond the 3 epochs"):
        run(checkpoint, epochs=3)


class EndAfter(Callback):
    """End the run after a step, and perhaps die right afterwards."""

    def __init__(self, step: int, *, dies: bool = False) -> None:
        self.step, self.dies = step, dies

    def on_step(self, state) -> None:
        state.stop = state.step == self.step

    def on_epoch_end(self, state) -> None:
        if self.dies and state.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_a_run_that_a_callback_ended_stays_ended(tmp_path: Path, step: int) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)
    expected = outcome(*run(None, callbacks=[EndAfter(step)]))
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, callbacks=[EndAfter(step, dies=True)])
    assert same(outcome(*run(checkpoint, callbacks=[EndAfter(step)])), expected)

    def no_data(epoch: int):
        raise AssertionError("data asked for")

    assert same(outcome(*run(checkpoint, data=no_data, callbacks=[EndAfter(step)])), expected)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed is 1 here and 0 in the checkpoint"),
        ({"lr": 0.2}, "lr of group 0 is 0.2 here and 0.1"),
        ({"width": 9}, r"parameter 0.weight is float32 \[9, 4\] here and float32 \[8, 4\]"),
        ({"loss": functional.multi_margin_loss}, "loss is multi_margin_loss here and cross_entropy"),
        ({"schedule": cosine(9)}, r"schedule is cosine\(total=9"),
        ({"schedule": step_decay(4)}, r"schedule is step_decay\(every=4"),
        ({"callbacks": [GradientClipping(1.0)]}, "callback 0 is GradientClipping here and Stop"),
        ({"callbacks": [Stop(-1), GradientClipping(1.0)]}, "callback 1: max_norm is 1.0 here and absent"),
    ],
)
def test_another_configuration_is_refused_and_named(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=2)
    interrupted(checkpoint)
    before = Path(checkpoint.path).read_bytes()
    with pytest.raises(UsageError, match=named):
        run(checkpoint, **changed)
    assert Path(checkpoint.path).read_bytes() == before


def test_own_settings_and_changed_functions_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    interrupted(Checkpoint(path, every_steps=2, configuration={"batch size": 6}), schedule=lambda step: 1.0)
    with pytest.raises(UsageError, match="batch size is 7 here and 6"):
        run(Checkpoint(path, configuration={"batch size": 7}), schedule=lambda step: 1.0)
    with pytest.raises(UsageError, match=r"gives 0\.5 at step 3 here and gave 1"):
        run(Checkpoint(path, configuration={"batch size": 6}), schedule=lambda step: 1.0 if step < 3 else 0.5)


def test_data_that_got_shorter_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=1)
    interrupted(checkpoint, 7)
    with pytest.raises(DataError, match="has 1 batches, and the checkpoint has already used 2"):
        run(checkpoint, data=lambda epoch: [(X, Y)])


class Plants:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.filterwarnings("error")
def test_a_torn_or_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt", every_steps=2)
    interrupted(checkpoint)
    path, planted = Path(checkpoint.path), tmp_path / "planted"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"deepscope training checkpoint") + 3] ^= 1
    weights, code, plain = tmp_path / "weights.pt", tmp_path / "code.pt", tmp_path / "plain.pt"
    torch.save(nn.Linear(2, 2).state_dict(), weights)
    torch.save({"format": Plants(planted)}, code)
    torch.save({**torch.load(path), "history": None}, plain)
    bad = [b"", b"some text", whole[: len(whole) // 2], whole[:-30], bytes(flipped), pickle.dumps(Plants(planted))]
    bad += [each.read_bytes() for each in (weights, code, plain)]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(TargetError, match=r"checkpoint.*run\.ckpt\nDelete or move") as caught:
            run(checkpoint)
        assert len(str(caught.value).splitlines()) == 2
        assert path.read_bytes() == content
    assert not planted.exists()
    path.write_bytes(whole)
    assert same(outcome(*run(checkpoint)), outcome(*run(None)))


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.ckpt")
    run(checkpoint)
    torch.save({**torch.load(checkpoint.path), "version": 3}, checkpoint.path)
    with pytest.raises(TargetError, match="has version 3, not 2"):
        run(checkpoint)


def test_a_place_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def no_data(epoch: int):
        raise AssertionError("data asked for")

    with pytest.raises(TargetError, match="cannot be written"):
        run(Checkpoint(tmp_path / "file" / "run.ckpt"), data=no_data)


class Unplain(Callback):
    def state_dict(self):
        return {"seen": {1, 2}}


def test_a_state_that_needs_code_is_refused_when_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot hold a set: callbacks/0/seen"):
        run(Checkpoint(tmp_path / "run.ckpt"), callbacks=[Unplain()])
    assert not list(tmp_path.iterdir())


def test_when_it_is_saved() -> None:
    def saved(checkpoint: Checkpoint) -> tuple[list[int], list[int]]:
        return (
            [n for n in range(1, 7) if checkpoint.due_after_step(n)],
            [n for n in range(1, 7) if checkpoint.due_after_epoch(n)],
        )

    assert saved(Checkpoint("x")) == ([], [1, 2, 3, 4, 5, 6])
    assert saved(Checkpoint("x", every_steps=3)) == ([3, 6], [])
    assert saved(Checkpoint("x", every_epochs=2)) == ([], [2, 4, 6])
    assert saved(Checkpoint("x", every_steps=4, every_epochs=5)) == ([4], [5])
    with pytest.raises(UsageError, match="every_steps"):
        Checkpoint("x", every_steps=0)
