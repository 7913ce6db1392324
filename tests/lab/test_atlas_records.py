"""Recorded verdicts: what is written is read again, and what is damaged is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atlas_runs import FIGURE, study_run

from deepscope.core import Criterion, DeepscopeError
from deepscope.lab._atlas_records import AtlasRecord, read_records, record_of, write_record


@pytest.fixture
def made(tmp_path: Path) -> AtlasRecord:
    record = record_of(study_run(), FIGURE, "abc")
    write_record(tmp_path, record)
    return record


def test_what_is_written_is_read_again(tmp_path: Path, made: AtlasRecord) -> None:
    assert read_records(tmp_path) == {"grokking": made}
    assert {path.name for path in tmp_path.iterdir()} == {"grokking.json", "grokking.svg"}
    assert (tmp_path / "grokking.svg").read_text() == FIGURE


def test_a_record_is_small_and_says_what_it_rests_on(made: AtlasRecord) -> None:
    assert set(made.record) == {
        "schema", "study", "claim", "source", "rows", "scale", "verdict", "reasons", "criteria", "cases", "seeds",
        "trials", "notes", "device", "versions", "hardware", "commit", "command", "date", "cost", "identity",
        "figure_sha256",
    }  # fmt: skip
    assert made.record["cost"] == {"cpu_seconds": 12.5, "peak_memory_bytes": 3_000_000}
    assert made.record["identity"] == "abc"


def test_there_are_no_records_where_there_is_no_folder(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none") == {}


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "grokking.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def without(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "grokking.json"
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != name}))

    return edit


def torn(folder: Path) -> None:
    path = folder / "grokking.json"
    path.write_bytes(path.read_bytes()[:-40])


def a_criterion_without_a_side(folder: Path) -> None:
    path = folder / "grokking.json"
    record = json.loads(path.read_text())
    del record["criteria"][0]["side"]
    path.write_text(json.dumps(record))


def of_a_criterion(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "grokking.json"
        record = json.loads(path.read_text())
        record["criteria"][0].update(changes)
        path.write_text(json.dumps(record))

    return edit


NESTED: list[Any] = []
for _ in range(300):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn, r"a record cannot be read \(.*\): .*grokking.json"),
        (lambda folder: (folder / "grokking.json").write_bytes(b"\xff\xfe"), r"a record cannot be read"),
        (lambda folder: (folder / "grokking.json").write_text("[]"), r"it is \[\], not an object"),
        (lambda folder: (folder / "grokking.json").write_text("[" * 100_000), "it is nested too deeply"),
        (edited(notes=NESTED), "it is nested too deeply"),
        (edited(schema=0), "its schema is 0, this deepscope reads 1"),
        (edited(scale="smoke"), "of the scale 'smoke', which judges nothing"),
        (edited(study="relu"), "it is that of 'relu'"),
        (edited(verdict="not reproduced"), "its criteria say 'reproduced', it says 'not reproduced'"),
        (edited(criteria=3), "its criteria is 3, not a list"),
        (edited(cost=5), "its cost is 5, not an object"),
        (edited(cost={"cpu_seconds": "x", "peak_memory_bytes": 1}), "its cost.cpu_seconds is 'x', not a number"),
        (edited(cost={"cpu_seconds": math.nan, "peak_memory_bytes": 1}), "its cost.cpu_seconds is nan, not a number"),
        (edited(cost={"cpu_seconds": 10**400, "peak_memory_bytes": 1}), "its cost.cpu_seconds is 1000"),
        (edited(notes=[5]), r"its notes\[0\] is 5, not text"),
        (edited(reasons=5), "its reasons is 5, not a list"),
        (edited(reasons="abc"), "its reasons is 'abc', not a list"),
        (edited(trials="many"), "its trials is 'many', not a whole number"),
        (edited(trials=True), "its trials is True, not a whole number"),
        (edited(cases=None), "its cases is None, not a whole number"),
        (edited(hardware="x"), "its hardware is 'x', not an object"),
        (edited(versions=[]), r"its versions is \[\], not an object"),
        (edited(versions={"torch": 2}), "its versions.torch is 2, not text"),
        (edited(date=5), "its date is 5, not text"),
        (edited(source="nokey"), "its source 'nokey' is no reference"),
        (edited(rows=["grokking", "nope"]), "there is no row 'nope'"),
        (edited(rows="grokking"), "its rows is 'grokking', not a list"),
        (edited(seeds=2), "its criteria say 'inconclusive'"),
        (without("identity"), "it has no identity"),
        (without("cost"), "it has no cost"),
        (a_criterion_without_a_side, r"it has no criteria\[0\].side"),
        (of_a_criterion(low="x"), r"its criteria\[0\].low is 'x', not a number"),
        (of_a_criterion(holds="yes"), r"its criteria\[0\].holds is 'yes', not true or false"),
        (of_a_criterion(side="left"), r"its criteria\[0\].side is 'left', not one of 'above', 'below', 'within'"),
        (of_a_criterion(target=None), r"its criteria\[0\].target is None, not a number"),
        (of_a_criterion(low=-1.0), "its criteria say 'inconclusive', it says 'reproduced'"),
        (lambda folder: (folder / "grokking.svg").unlink(), "the figure of a record is missing"),
        (lambda folder: (folder / "grokking.svg").write_text("<svg/>"), "not the one that its record was made with"),
    ],
)
@pytest.mark.usefixtures("made")
def test_what_is_damaged_is_refused(tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(tmp_path)
    with pytest.raises(DeepscopeError, match=said) as caught:
        read_records(tmp_path)
    assert str(tmp_path) in caught.value.where
    assert caught.value.todo == "Make it again: deepscope atlas record grokking"


@pytest.mark.usefixtures("made")
def test_a_newer_record_is_not_to_be_made_again_here(tmp_path: Path) -> None:
    edited(schema=2)(tmp_path)
    with pytest.raises(DeepscopeError, match=r"a newer deepscope \(its schema is 2, this") as caught:
        read_records(tmp_path)
    assert caught.value.todo == "Update deepscope."


@pytest.mark.usefixtures("made")
def test_a_crash_between_figure_and_record_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepscope.lab._atlas_records.json.dumps", crash)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, record_of(study_run(gain=2.0), FIGURE.replace("3", "4"), "def"))
    monkeypatch.undo()
    with pytest.raises(DeepscopeError, match="not the one that its record"):
        read_records(tmp_path)


def test_criteria_survive_the_way_through_a_record() -> None:
    effect = Criterion.effect("a", {0: 1.0, 1: 2.0, 2: None}, within=1, target=2, published="2", control=True)
    exact = Criterion.exact("b", {0: 1e-13, 1: 2e-13, 2: 3e-13}, below=1e-12)
    for each in (effect, exact, Criterion.effect("none", {}, above=0)):
        assert Criterion.from_dict(json.loads(json.dumps(each.to_dict()))) == each
