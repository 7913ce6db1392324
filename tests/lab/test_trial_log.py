"""The log of trials: whatever the disk does, whole lines are there, in order, once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepscope.lab import TrialLog, TrialRecord, read_trials
from deepscope.lab import _line_log as module
from deepscope.lab._trial_record import encode


def record(seed: int, note: str = "") -> TrialRecord:
    values = {"loss": seed / 7, "note": note}
    return TrialRecord(identity=f"{seed:x}", study="s", case={"n": 1}, seed=seed, status="finished", values=values)


def seeds(path: Path) -> list[int]:
    records, bad = read_trials(path)
    assert bad == 0
    return [each.seed for each in records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.jsonl"


Fault = Callable[[Callable[..., int], int, bytes], int]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    real = os.write

    def break_with(fault: Fault) -> None:
        monkeypatch.setattr(module.os, "write", lambda descriptor, data: fault(real, descriptor, bytes(data)))

    return break_with


def full(real: Callable[..., int], descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_then_full(real: Callable[..., int], descriptor: int, data: bytes) -> int:
    real(descriptor, data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half(real: Callable[..., int], descriptor: int, data: bytes) -> int:
    return real(descriptor, data[: len(data) // 2])


def healthy(real: Callable[..., int], descriptor: int, data: bytes) -> int:
    return real(descriptor, data)


def test_a_record_is_in_the_file_as_soon_as_it_is_appended(path: Path) -> None:
    log = TrialLog(path)
    for seed in range(3):
        log.append(record(seed))
        assert seeds(path) == list(range(seed + 1))
    log.close()
    assert log.unwritten == 0
    assert log.fault == ""


def test_a_log_without_records_makes_no_file(path: Path) -> None:
    TrialLog(path).close()
    assert not path.exists()
    assert read_trials(path) == ([], 0)


@pytest.mark.parametrize("fault", [full, half_then_full, half])
def test_a_full_disk_keeps_the_records_and_writes_them_in_order_later(
    path: Path, fail: Callable[[Fault], None], fault: Fault
) -> None:
    log = TrialLog(path)
    log.append(record(0))
    fail(fault)
    for seed in (1, 2):
        log.append(record(seed))
        assert log.unwritten == seed
        assert "No space" in log.fault
        assert seeds(path) == [0]
    fail(healthy)
    log.append(record(3))
    assert log.unwritten == 0
    assert log.fault == ""
    assert seeds(path) == [0, 1, 2, 3]
    assert path.read_bytes() == b"".join(encode(record(seed)) for seed in range(4))
    log.close()


@pytest.mark.parametrize("fault", [full, half_then_full, half])
def test_closing_tries_once_more(path: Path, fail: Callable[[Fault], None], fault: Fault) -> None:
    log = TrialLog(path)
    fail(fault)
    log.append(record(0))
    log.close()
    assert log.unwritten == 1
    fail(healthy)
    log.close()
    assert log.unwritten == 0
    assert seeds(path) == [0]


def test_a_folder_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    log = TrialLog(folder / "trials.jsonl")
    log.append(record(0))
    log.close()
    assert log.unwritten == 1
    assert "No such file" in log.fault
    folder.mkdir()
    log.append(record(1))
    log.close()
    assert seeds(folder / "trials.jsonl") == [0, 1]


def test_a_file_that_cannot_be_read_is_not_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(encode(record(0)))

    def unreadable(self: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = TrialLog(path)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", unreadable)
        log.append(record(1))
    assert log.unwritten == 1
    log.append(record(2))
    log.close()
    assert seeds(path) == [0, 1, 2]


def test_what_cannot_be_written_exactly_is_refused_and_the_log_goes_on(path: Path) -> None:
    log = TrialLog(path)
    with pytest.raises(TypeError, match="loss"):
        log.append(TrialRecord(identity="0", study="s", case={}, seed=0, status="finished", values={"loss": {1}}))
    log.append(record(1))
    log.close()
    assert seeds(path) == [1]


@given(st.data())
def test_a_torn_tail_is_skipped_and_healed_wherever_it_was_torn(tmp_path_factory: object, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("torn") / "trials.jsonl"  # type: ignore[attr-defined]
    lines = [encode(record(seed)) for seed in range(3)]
    content = b"".join(lines)
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert seeds(path) == list(range(whole))
    log = TrialLog(path)
    log.append(record(9))
    log.close()
    assert path.read_bytes() == b"".join(lines[:whole]) + encode(record(9))


def test_a_tail_torn_within_a_character_of_another_writer_is_skipped(path: Path) -> None:
    said = {**json.loads(encode(record(1))), "error": "größer"}
    line = json.dumps(said, ensure_ascii=False).encode()
    whole = encode(record(0)) + line + b"\n"
    path.write_bytes(whole)
    assert seeds(path) == [0, 1]
    cut = whole.index("ö".encode()) + 1
    path.write_bytes(whole[:cut])
    assert seeds(path) == [0]
    path.write_bytes(whole[:cut] + b"\n" + encode(record(2)))
    records, bad = read_trials(path)
    assert ([each.seed for each in records], bad) == ([0, 2], 1)


def test_bad_lines_are_counted_and_the_others_read(path: Path) -> None:
    newer = json.dumps({**json.loads(encode(record(1))), "version": 2}).encode() + b"\n"
    path.write_bytes(encode(record(0)) + newer + b"\n" + b"\x00" * 40 + b"\n" + encode(record(2)))
    records, bad = read_trials(path)
    assert [each.seed for each in records] == [0, 2]
    assert bad == 3


def test_a_file_of_no_bytes_holds_nothing(path: Path) -> None:
    path.touch()
    assert read_trials(path) == ([], 0)
    log = TrialLog(path)
    log.append(record(0))
    log.close()
    assert seeds(path) == [0]


def test_two_logs_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    one, other = TrialLog(tmp_path / "one.jsonl"), TrialLog(tmp_path / "other.jsonl")
    for seed in range(6):
        (one, other)[seed % 2].append(record(seed))
    one.close()
    other.close()
    assert seeds(one.path) == [0, 2, 4]
    assert seeds(other.path) == [1, 3, 5]


def test_the_disk_is_told_at_most_once_a_second_and_at_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    now = [100.0]
    monkeypatch.setattr(module.os, "fsync", lambda descriptor: told.append(descriptor))
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    # The wall clock is not asked.
    monkeypatch.setattr(module.time, "time", lambda: pytest.fail("the wall clock may jump"))
    log = TrialLog(path)
    counts = []
    for step in range(9):
        log.append(record(step))
        counts.append(len(told))
        now[0] += 0.5
    assert counts == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    log.close()
    assert len(told) == 5
