"""An examination that was stopped goes on where it was."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deepscope import examine
from deepscope.core import home
from deepscope.instruments import ANATOMY, SPECTRUM
from deepscope.lab import _tensor_log as module
from deepscope.lab import keep
from deepscope.lab._identity import closure, code_of
from deepscope.lab._tensor_task import TensorTask
from deepscope.subject import measure_weight, read_checkpoint
from tests.lab.tensor_instruments import CALLS, MORE, SEEN, STRANGE

NAMES = [f"{letter}.weight" for letter in "abcd"]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(module, "_WORTH_SECONDS", 0.0)
    generator = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(40, 30, generator=generator) for name in NAMES}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv(CALLS, str(tmp_path / "calls"))
    (tmp_path / "calls").touch()
    return tmp_path / "calls"


def stop_after(monkeypatch, count: int) -> None:
    run, begun = TensorTask.run, []

    def interrupted(self, tell):
        if len(begun) == count:
            raise KeyboardInterrupt
        begun.append(self.identity)
        return run(self, tell)

    monkeypatch.setattr(TensorTask, "run", interrupted)


def stopped(checkpoint: Path, count: int = 2, **asked) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, count)
        with pytest.raises(KeyboardInterrupt):
            examine(checkpoint, resume=True, **asked)


def logs() -> list[str]:
    return sorted(path.suffix for path in (home() / "tensors").glob("*")) if (home() / "tensors").exists() else []


def test_what_was_measured_is_not_measured_again(checkpoint: Path, calls: Path) -> None:
    asked = {"instruments": [SEEN, SPECTRUM, ANATOMY]}
    stopped(checkpoint, **asked)
    assert calls.read_text().split() == NAMES[:2]
    told = []
    found = examine(checkpoint, resume=True, progress=lambda what, _: told.append(what), **asked)
    assert calls.read_text().split() == NAMES
    assert told[0].endswith("2 tensors were measured before.")
    whole = examine(checkpoint, **asked)
    assert found.readings["spectrum"] == whole.readings["spectrum"]
    assert found.readings["anatomy"] == whole.readings["anatomy"]
    # What the first process spent counts.
    assert found.readings["spectrum"].cost.cpu_seconds > 0
    assert logs() == [".jsonl", ".lock"]
    keep(found)
    assert logs() == []


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"budget": "quick"}, {"instruments": [SEEN, ANATOMY]}],
    ids=["seed", "budget", "instruments"],
)
def test_another_examination_begins_anew(checkpoint: Path, calls: Path, change: dict) -> None:
    asked = {"instruments": [SEEN, SPECTRUM], "seed": 0}
    stopped(checkpoint, **asked)
    examine(checkpoint, resume=True, **{**asked, **change})
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]


def test_another_checkpoint_begins_anew(checkpoint: Path, calls: Path) -> None:
    stopped(checkpoint, instruments=[SEEN])
    save_file({name: torch.zeros(40, 30) for name in NAMES}, checkpoint)
    examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]


def test_a_checkpoint_of_the_same_size_and_time_begins_anew(checkpoint: Path, calls: Path) -> None:
    stopped(checkpoint, instruments=[SEEN])
    before = checkpoint.stat()
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    checkpoint.write_bytes(content[:-4] + b"\0\0\0\0")
    os.utime(checkpoint, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (checkpoint.stat().st_size, checkpoint.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]


@pytest.mark.parametrize("function", [read_checkpoint, measure_weight])
def test_other_reading_begins_anew(checkpoint: Path, calls: Path, monkeypatch, function: object) -> None:
    stopped(checkpoint, instruments=[SEEN])
    monkeypatch.setattr(module, "code_of", lambda asked: "another" if asked is function else code_of(asked))
    examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]


def test_the_code_that_reads_values_counts() -> None:
    reached = {name.partition(":")[0] for name in closure(read_checkpoint)}
    parts = ("_checkpoint_safetensors", "_checkpoint_torch", "_checkpoint_numpy", "_quantised", "_dequantised")
    assert {f"deepscope.subject.{part}" for part in parts} <= reached


def test_an_interrupt_says_what_is_kept(checkpoint: Path, monkeypatch) -> None:
    # However soon it comes.
    monkeypatch.setattr(module, "_WORTH_SECONDS", 1e9)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt) as stop:
            examine(checkpoint, resume=True, instruments=[SEEN])
    assert stop.value.__notes__ == ["2 tensors that were measured are kept: the same command goes on from there."]
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt) as stop:
            examine(checkpoint, instruments=[SEEN])
    assert not hasattr(stop.value, "__notes__")


def test_other_code_begins_anew(checkpoint: Path, calls: Path, monkeypatch) -> None:
    stopped(checkpoint, instruments=[SEEN])
    monkeypatch.setattr(module, "code_of", lambda step: "another")
    examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]


@pytest.mark.parametrize("damage", [b"{}", b"no JSON", b'{"version":99}', b"[]", b"\xff"])
def test_a_damaged_line_is_measured_again(checkpoint: Path, calls: Path, damage: bytes) -> None:
    stopped(checkpoint, instruments=[SEEN])
    (path,) = (home() / "tensors").glob("*.jsonl")
    first, second = path.read_bytes().splitlines()
    # A damaged line, a whole one, and the beginning of one that a killed process has left.
    path.write_bytes(damage + b"\n" + second + b"\n" + first[:40])
    examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], NAMES[0], *NAMES[2:]]


def test_two_at_once_do_not_share_a_file(checkpoint: Path, calls: Path) -> None:
    stopped(checkpoint, instruments=[SEEN])
    (path,) = (home() / "tensors").glob("*.jsonl")
    before = path.read_bytes()
    held = module.TensorLog(path.stem, {"seen": SEEN.per_weight.record})
    assert sorted(held.known) == NAMES[:2]
    found = examine(checkpoint, resume=True, instruments=[SEEN])
    assert calls.read_text().split() == [*NAMES[:2], *NAMES]
    assert path.read_bytes() == before
    keep(found)
    # It is the other's.
    assert path.exists()
    held.discard()


def test_without_being_asked_nothing_is_written(checkpoint: Path) -> None:
    examine(checkpoint, instruments=[SPECTRUM])
    assert logs() == []


def test_what_takes_no_time_is_not_written(checkpoint: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_WORTH_SECONDS", 1e9)
    examine(checkpoint, instruments=[SPECTRUM], resume=True)
    assert ".jsonl" not in logs()


def test_a_live_network_keeps_nothing() -> None:
    examine(nn.Linear(3, 3), resume=True)
    assert logs() == []


def test_a_step_without_a_file_keeps_nothing(checkpoint: Path) -> None:
    own = replace(ANATOMY, name="own", per_weight=replace(ANATOMY.per_weight, step=lambda *_: []))
    examine(checkpoint, instruments=[own], resume=True)
    assert logs() == []


def test_what_no_reading_can_hold_is_not_kept_and_the_rest_goes_on(checkpoint: Path) -> None:
    found = examine(checkpoint, instruments=[STRANGE, ANATOMY], resume=True)
    assert set(found.readings) == {"strange", "anatomy"}
    assert ".jsonl" not in logs()


def test_records_of_another_kind_are_not_kept(checkpoint: Path, calls: Path) -> None:
    found = examine(checkpoint, instruments=[MORE], resume=True)
    assert ".jsonl" not in logs()
    # The file is let go at once, not when the examination is forgotten.
    assert found.tensor_log is not None
    held = module.TensorLog(found.tensor_log.path.stem, {"more": MORE.per_weight.record})
    held.append(module.TensorResult(name="a.weight", records={"more": ()}))
    assert held.path.exists()
    held.discard()


def test_a_home_that_cannot_be_written_stops_nothing(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "file"))
    assert examine(checkpoint, instruments=[ANATOMY], resume=True).not_run == ()
