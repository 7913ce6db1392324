"""The store: whole runs or none, listed without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch import nn

import deepscope
from deepscope.core import UsageError
from deepscope.lab import find_run, keep, runs, runs_folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / "home"))


def examined() -> deepscope.Examination:
    return deepscope.examine(nn.Linear(20, 20), instruments=["anatomy", "spectrum"])


def test_a_run_holds_everything_that_was_seen() -> None:
    examination = examined()
    run = keep(examination)
    assert run.record() == examination.to_dict()
    assert set(run.figures()) == {"anatomy", "spectrum"}
    for name, reading in examination.readings.items():
        assert type(reading).load(run.path / "readings" / name) == reading


def test_an_empty_store_lists_nothing() -> None:
    assert runs() == ([], [])
    with pytest.raises(UsageError, match="Nothing is stored yet"):
        find_run("last")


def test_found_by_id_by_its_ends_and_as_last() -> None:
    first, second = keep(examined()), keep(examined())
    assert find_run("last").id == second.id
    assert [run.id for run in runs()[0]] == [second.id, first.id]
    assert find_run(first.id) == first
    assert find_run(first.id[-4:]) == first
    with pytest.raises(UsageError, match="several runs match"):
        find_run(first.id[:8])
    with pytest.raises(UsageError, match="no such run"):
        find_run("nothing")


def test_a_failure_while_writing_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    examination = examined()
    monkeypatch.setattr(type(examination.readings["spectrum"]), "save", full)
    with pytest.raises(OSError, match="No space"):
        keep(examination)
    assert list(runs_folder().iterdir()) == []


def test_a_broken_run_is_reported_and_the_others_are_listed() -> None:
    good, bad, newer = keep(examined()), keep(examined()), keep(examined())
    (bad.path / "run.json").write_text("{")
    head = json.loads((newer.path / "run.json").read_text())
    (newer.path / "run.json").write_text(json.dumps({**head, "layout": 99}))
    (runs_folder() / ".half.part").mkdir()
    found, broken = runs()
    assert [run.id for run in found] == [good.id]
    assert len(broken) == 2
    assert any("newer deepscope" in reason for reason in broken)


def test_listing_and_showing_never_load_torch() -> None:
    keep(examined())
    program = (
        "import sys; from deepscope.cli import app\n"
        "app(['runs', 'list'], result_action='return_value'); app(['runs', 'show'], result_action='return_value')\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Linear" in done.stdout


def test_what_a_killed_run_left_is_swept_once_it_is_old() -> None:
    runs_folder().mkdir(parents=True)
    old, young = runs_folder() / ".old.part", runs_folder() / ".young.part"
    for left in (old, young):
        left.mkdir()
        (left / "record.json").write_text("{")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(old, (two_days_ago, two_days_ago))
    run = keep(examined())
    assert sorted(path.name for path in runs_folder().iterdir()) == [".young.part", run.id]
