"""Tensors measured by workers: the same numbers, sent as handles, and what goes wrong on the way."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from same_readings import check_same_readings
from torch import nn

from deepscope import examine
from deepscope.core import LeftOut, TargetError, UsageError
from deepscope.instruments import ANATOMY, SPECTRUM
from deepscope.lab._inline import InlineExecutor
from deepscope.lab._pool import PoolExecutor
from deepscope.lab._tensor_pass import measure_tensors
from deepscope.lab._tensor_task import TensorTask
from deepscope.subject import Subject
from tests.lab.tensor_instruments import DIES, FAILS, SEEN, UNREADABLE, UNSENDABLE


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    sides = {"a": 64, "b": 200, "c": 96}
    tensors = {f"{name}.weight": torch.randn(side, side, generator=generator) for name, side in sides.items()}
    tensors |= {f"{name}.bias": torch.randn(side, generator=generator) for name, side in sides.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def test_a_pool_measures_what_this_process_does(checkpoint: Path) -> None:
    here = examine(checkpoint, instruments=[ANATOMY, SPECTRUM])
    there = examine(checkpoint, instruments=[ANATOMY, SPECTRUM], workers=2)
    assert there.not_run == ()
    check_same_readings(here, there)


def test_workers_compute_with_one_thread_and_are_sent_handles(checkpoint: Path, monkeypatch) -> None:
    sent = []
    run = PoolExecutor.run
    monkeypatch.setattr(PoolExecutor, "run", lambda self, tasks: sent.extend(tasks) or run(self, tasks))
    subject = Subject.from_checkpoint(checkpoint)
    results = measure_tensors(
        subject, {"seen": SEEN.per_weight.step}, PoolExecutor(2, float("inf")), None, lambda *_: None
    )
    records = [record for result in results for record in result.records["seen"]]
    assert [record.name for record in records] == [weight.name for weight in subject.weights()]
    assert {record.threads for record in records} == {1}
    # The largest first, so that the last ones end together.
    assert [task.weight.name for task in sent][:3] == ["b.weight", "c.weight", "a.weight"]
    assert all(len(pickle.dumps(task)) < 2000 for task in sent)


def test_the_death_of_a_worker_costs_its_own_tensor(checkpoint: Path) -> None:
    found = examine(checkpoint, instruments=[DIES], workers=1)
    (lost,) = found.not_run
    assert lost.name == "b.weight"
    assert "died twice (killed; perhaps the machine ran out of memory" in lost.reason
    assert found.failed == ("b.weight",)
    reading = found.readings["dies"]
    assert lost in reading.left_out
    assert [each.name for each in reading.tensors] == ["a.bias", "a.weight", "b.bias", "c.bias", "c.weight"]


@pytest.mark.parametrize("instrument", [UNREADABLE, UNSENDABLE], ids=lambda each: each.name)
def test_a_result_that_does_not_survive_the_way_costs_its_own_tensor(checkpoint: Path, instrument) -> None:
    found = examine(checkpoint, instruments=[instrument, ANATOMY], workers=1)
    (lost,) = found.not_run
    assert lost.name == "b.weight"
    assert lost.reason.startswith("what it returned cannot be sent to another process (")
    assert len(found.readings["anatomy"].tensors) == 5


@pytest.mark.parametrize("workers", [None, 1])
def test_a_step_that_fails_takes_its_own_instrument_along(checkpoint: Path, workers: int | None) -> None:
    found = examine(checkpoint, instruments=[FAILS, ANATOMY], workers=workers)
    # The first in the order of the file, whichever was measured first.
    assert found.not_run == (LeftOut("fails", "ValueError: not b.weight"),)
    assert list(found.readings) == ["anatomy"]


def test_a_live_network_is_measured_in_its_own_process() -> None:
    with pytest.raises(UsageError, match="those of a live network are only in this process"):
        examine(nn.Linear(2, 2), workers=2)


def test_a_step_that_cannot_be_sent_is_refused(checkpoint: Path) -> None:
    own = replace(ANATOMY, name="own", per_weight=replace(ANATOMY.per_weight, step=lambda *_: []))
    with pytest.raises(UsageError, match="cannot be sent to workers") as refused:
        examine(checkpoint, instruments=[own], workers=2)
    assert refused.value.where == "own"
    # Here it need not be sent.
    assert examine(checkpoint, instruments=[own]).readings["own"].tensors == ()


def test_options_that_do_not_go_together_are_refused(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="workers is for the executor pool"):
        examine(checkpoint, executor="inline", workers=2)
    with pytest.raises(UsageError, match="address is for the executor ray"):
        examine(checkpoint, workers=2, address="auto")
    for workers in (0, -1, True, 1.5, "2"):
        with pytest.raises(UsageError, match=f"{workers} workers"):
            examine(checkpoint, workers=workers)


def test_a_step_typed_at_a_prompt_is_refused(checkpoint: Path, monkeypatch) -> None:
    def step(weight, tensor):
        raise AssertionError("not to be run")

    monkeypatch.setattr(step, "__module__", "__main__")
    monkeypatch.setattr(step, "__qualname__", "step")
    monkeypatch.setattr(sys.modules["__main__"], "step", step, raising=False)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    own = replace(ANATOMY, name="own", per_weight=replace(ANATOMY.per_weight, step=step))
    with pytest.raises(UsageError, match="typed at a prompt"):
        examine(checkpoint, instruments=[own], workers=1)


def test_a_file_that_changes_meanwhile_ends_the_examination(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    run = TensorTask.run

    def then_written_to(self, tell):
        result = run(self, tell)
        path.write_bytes(checkpoint.read_bytes() + b" ")
        return result

    monkeypatch.setattr(TensorTask, "run", then_written_to)
    with pytest.raises(TargetError, match="changed while being read"):
        examine(path)


def test_progress_counts_tensors_and_ends_at_one(checkpoint: Path) -> None:
    told = []
    subject = Subject.from_checkpoint(checkpoint)
    measure_tensors(
        subject, {"it": lambda *_: []}, InlineExecutor(), None, lambda what, done: told.append((what, done))
    )
    assert [what for what, _ in told] == [f"{k} of 6 tensors" for k in range(1, 7)]
    assert told[-1][1] == pytest.approx(1.0)
    assert [done for _, done in told] == sorted(done for _, done in told)
    # Biases count for nearly nothing.
    assert told[0][1] == pytest.approx(200**3 / (200**3 + 96**3 + 64**3), abs=0.001)
