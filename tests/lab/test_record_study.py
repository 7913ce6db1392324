"""Recording a study: run as its file says, written whole, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atlas_runs import FIGURE, study_run

from deepscope.core import DeepscopeError, UsageError
from deepscope.lab import _record_study, record_study, unrecorded
from deepscope.lab._atlas_records import read_records
from deepscope.studies import catalog

STUDY = """
from deepscope import Grid, Study

def trial(case, run): return {{"gain": {gain}}}
def judge(trials): return []
def draw(trials): return None

STUDY = Study(claim="A gain.", source="power2022grokking", topics=("testing",), rows=("grokking",), trial=trial,
              judge=judge, draw=draw, scales={{"quick": Grid(seeds=5)}})
"""

Runs = list[dict[str, Any]]


class Ran:
    """Stands in for `run_study`: gives the records that it was told to, and remembers what it was asked for."""

    def __init__(self, run: dict[str, Any], figure: str) -> None:
        self.record, self.figure = run, figure


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "studies" / "testing"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(STUDY.format(gain=1))
    monkeypatch.setattr(_record_study, "catalog", lambda: catalog(tmp_path / "studies"))
    return tmp_path


@pytest.fixture
def run(house: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    asked: list[tuple[str, str]] = []

    def will_give(figure: str = FIGURE, then: Callable[[], object] = lambda: None, **changes: Any) -> Any:
        def run_study(name: str, *, scale: str, **_: Any) -> Ran:
            asked.append((name, scale))
            then()
            return Ran(study_run(name, **{"scale": scale, **changes}), figure)

        monkeypatch.setattr("deepscope.lab._study.run_study", run_study)
        return asked

    will_give()
    return will_give


def test_a_verdict_is_recorded_with_its_figure(house: Path, run: Any) -> None:
    made = record_study("one", folder=house / "atlas")
    assert (made.study, made.path, made.kept) == ("one", house / "atlas" / "one.json", "")
    (found,) = read_records(house / "atlas").values()
    assert (found.record, found.figure) == (made.record, FIGURE)
    assert json.loads(made.path.read_text())["scale"] == "quick"
    assert run() == [("one", "quick")]


def test_those_without_a_fresh_record_are_left(house: Path, run: Any) -> None:
    folder = house / "atlas"
    assert unrecorded("quick", folder) == ("one", "two")
    record_study("one", folder=folder)
    assert unrecorded("quick", folder) == ("two",)
    assert unrecorded("full", folder) == ("one", "two")
    record_study("two", scale="full", folder=folder)
    assert unrecorded("quick", folder) == ()
    assert unrecorded("full", folder) == ("one",)
    (house / "studies" / "testing" / "one.py").write_text(STUDY.format(gain=2))
    assert unrecorded("quick", folder) == ("one",)
    (folder / "two.svg").unlink()
    assert unrecorded("quick", folder) == ("one", "two")


def test_a_fresh_record_of_a_larger_scale_is_kept(house: Path, run: Any) -> None:
    folder = house / "atlas"
    full = record_study("one", scale="full", folder=folder)
    again = record_study("one", folder=folder)
    assert again.kept == "a fresh record of the scale full is there"
    assert again.record == full.record
    assert run() == [("one", "full")]
    (house / "studies" / "testing" / "one.py").write_text(STUDY.format(gain=2))
    assert record_study("one", folder=folder).record["scale"] == "quick"


def test_a_fresh_record_of_the_same_scale_is_made_again(house: Path, run: Any) -> None:
    folder = house / "atlas"
    record_study("one", folder=folder)
    run(date="2027-01-01T00:00:00+00:00")
    assert record_study("one", folder=folder).record["date"].startswith("2027")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"modified": True}, "its protocol was modified"),
        ({"failed": 2}, "2 of its trials failed"),
        ({"figure": ""}, "its figure could not be drawn"),
    ],
)
def test_what_is_not_whole_is_not_recorded(house: Path, run: Any, given: dict[str, Any], said: str) -> None:
    record_study("one", folder=house / "atlas")
    before = read_records(house / "atlas")
    run(**{"date": "later", **given})
    with pytest.raises(DeepscopeError, match=said):
        record_study("one", folder=house / "atlas")
    assert read_records(house / "atlas") == before


def test_a_study_that_is_edited_while_it_runs_is_not_recorded(house: Path, run: Any) -> None:
    run(then=lambda: (house / "studies" / "testing" / "one.py").write_text(STUDY.format(gain=3)))
    with pytest.raises(DeepscopeError, match="edited while it ran"):
        record_study("one", folder=house / "atlas")
    assert read_records(house / "atlas") == {}


def test_what_is_asked_wrongly_is_refused_before_anything_runs(
    house: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"(?s)unknown study: on.*\"one\""):
        record_study("on", folder=house)
    with pytest.raises(UsageError, match="nothing is judged at the scale 'smoke'"):
        record_study("one", scale="smoke", folder=house)
    with pytest.raises(UsageError, match="records cannot be written"):
        record_study("one", folder=house / "no" / "folder")
    (house / "file").touch()
    with pytest.raises(UsageError, match="records cannot be written"):
        record_study("one", folder=house / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=r"records cannot be written \(it is not writable\)"):
        record_study("one", folder=house / "atlas")
    assert run() == []


def test_a_full_disk_is_said(house: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_record_study, "write_record", full)
    with pytest.raises(UsageError, match=r"records cannot be written \(No space left on device\)"):
        record_study("one", folder=house / "atlas")
