"""deepscope atlas record|build|coverage, and deepscope reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atlas_runs import FIGURE, study_run

from deepscope.core import DeepscopeError
from deepscope.lab import Recorded
from deepscope.lab._atlas import identity_of
from deepscope.lab._atlas_records import record_of, write_record
from deepscope.studies import catalog


def put(folder: Path, name: str, **changes: Any) -> None:
    (heading,) = (each for each in catalog() if each.id == name)
    folder.mkdir(exist_ok=True)
    write_record(folder, record_of(study_run(name, **changes), FIGURE, identity_of(heading)))


def test_coverage_as_data_and_as_text(deepscope: Callable[..., Any], tmp_path: Path) -> None:
    put(tmp_path / "records", "resnet-euler")
    done = deepscope("atlas", "coverage", "--json", "--records", tmp_path / "records")
    found = json.loads(done.out)
    assert (done.code, done.err, list(found)) == (0, "", ["rows", "demonstrated", "by_group", "by_row"])
    assert found["by_row"]["resnet-euler"] == ["study:resnet-euler"]
    assert found["by_row"]["mamba"] == []
    text = deepscope("atlas", "coverage", "--records", tmp_path / "records")
    assert text.code == 0
    assert f"{found['demonstrated']} of 640 rows demonstrated." in text.out
    for group, counts in found["by_group"].items():
        assert f"of {counts['rows']:>3}  {group[:40]}" in text.out


def test_the_site_is_built_from_the_records(deepscope: Callable[..., Any], tmp_path: Path) -> None:
    put(tmp_path / "records", "resnet-euler")
    done = deepscope("atlas", "build", "--out", tmp_path / "site", "--records", tmp_path / "records")
    assert (done.code, done.err) == (0, "")
    assert "1 with a recorded verdict, 0 of these stale." in done.out
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "site" / "map.html").is_file()
    page = (tmp_path / "site" / "studies" / "resnet-euler.html").read_text(encoding="utf-8")
    assert "gain of nothing" in page
    assert "def smooth_weights" in page


def torn(folder: Path) -> None:
    (folder / "resnet-euler.json").write_text("{")


def without_figure(folder: Path) -> None:
    (folder / "resnet-euler.svg").unlink()


def of_no_study(folder: Path) -> None:
    (folder / "resnet-euler.json").rename(folder / "gone.json")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn, "a record cannot be read"),
        (without_figure, "the figure of a record is missing"),
        (of_no_study, "a record is that of no study"),
    ],
)
def test_damaged_records_are_said_and_nothing_is_written(
    deepscope: Callable[..., Any], tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    put(tmp_path / "records", "resnet-euler")
    damage(tmp_path / "records")
    for words in (["coverage"], ["coverage", "--json"], ["build", "--out", tmp_path / "site"]):
        done = deepscope("atlas", *words, "--records", tmp_path / "records")
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert "record gone" not in done.err
    assert not (tmp_path / "site").exists()


def test_a_folder_that_is_not_empty_is_refused(deepscope: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").touch()
    done = deepscope("atlas", "build", "--out", tmp_path / "site")
    assert (done.code, done.out) == (2, "")
    assert "the folder is not empty" in done.err
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["mine.txt"]
    assert deepscope("atlas", "build").code == 2


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What `record_study` will do, by study: raise, or return the record that stands."""
    will: dict[str, Any] = {}

    def record_study(name: str, **asked: Any) -> Recorded:
        made = will.get(name, "")
        if isinstance(made, BaseException):
            raise made
        return Recorded(name, study_run(name, scale=asked["scale"]), asked["folder"] / f"{name}.json", made)

    monkeypatch.setattr("deepscope.lab._record_study.record_study", record_study)
    return will


def test_recording(deepscope: Callable[..., Any], tmp_path: Path, recorded: dict[str, Any]) -> None:
    folder = tmp_path / "records"
    words = ("--records", folder, "--scale", "full")
    done = deepscope("atlas", "record", "grokking", "resnet-euler", *words)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:2] == [
        "grokking: Reproduced: 2 of 2 criteria hold (5 seeds, full).",
        f"  {folder / 'grokking.json'}",
    ]
    recorded["grokking"] = "a fresh record of the scale full is there"
    assert "kept: a fresh record" in deepscope("atlas", "record", "grokking", *words).out
    assert [each["study"] for each in json.loads(deepscope("atlas", "record", "grokking", *words, "--json").out)] == [
        "grokking"
    ]


def test_those_without_a_record_are_recorded_if_none_is_named(
    deepscope: Callable[..., Any], tmp_path: Path, recorded: dict[str, Any]
) -> None:
    folder = tmp_path / "records"
    put(folder, "resnet-euler")
    done = deepscope("atlas", "record", "--records", folder)
    studies = [line.partition(":")[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert studies == [heading.id for heading in catalog() if heading.id != "resnet-euler"]
    for study in studies:
        put(folder, study)
    assert deepscope("atlas", "record", "--records", folder).out.startswith("Every study has a fresh record at quick.")


def test_what_cannot_be_recorded_is_said(
    deepscope: Callable[..., Any], tmp_path: Path, recorded: dict[str, Any]
) -> None:
    recorded["grokking"] = DeepscopeError("the study is not recorded (2 of its trials failed)", where="grokking")
    words = ("--records", tmp_path / "records")
    done = deepscope("atlas", "record", "grokking", "resnet-euler", *words)
    assert done.code == 3
    assert "2 of its trials failed" in done.err
    assert "resnet-euler: Reproduced" in done.out
    assert deepscope("atlas", "record", "grokking", *words).code == 2
    unknown = deepscope("atlas", "record", "resnet-euler", "groking", *words)
    assert (unknown.code, unknown.out) == (2, "")
    assert 'Did you mean "grokking"?' in unknown.err
    assert deepscope("atlas", "record", "grokking", "--scale", "smoke", *words).code == 2
    recorded["grokking"] = KeyboardInterrupt()
    interrupted = deepscope("atlas", "record", "grokking", *words)
    assert interrupted.code == 130
    assert f"deepscope atlas record grokking --records {tmp_path / 'records'}" in interrupted.err


def test_reading_searches_literature_and_map(deepscope: Callable[..., Any]) -> None:
    found = json.loads(deepscope("reading", "saxe exact", "--json").out)
    assert "saxe2014exact" in {each["id"] for each in found["references"]}
    (row,) = (each for each in found["rows"] if each["id"] == "saxe-dynamics")
    assert row["source"].startswith("Saxe, McClelland & Ganguli 2013")
    text = deepscope("reading", "GROKKING power").out
    assert "Power et al. (2022)." in text
    assert "here: study grokking" in text
    everything = json.loads(deepscope("reading", "--json").out)
    assert len(everything["rows"]) == everything["of"]["rows"] == 640
    assert len(everything["references"]) == everything["of"]["references"]


def test_reading_finds_accents_and_says_when_it_finds_nothing(deepscope: Callable[..., Any]) -> None:
    assert json.loads(deepscope("reading", "jimenez-gonzalez", "--json").out)["rows"]
    nothing = deepscope("reading", "no such thing anywhere")
    assert nothing.code == 0
    assert nothing.out.strip() == "Nothing that is cited or on the map has all of: no such thing anywhere"


def test_several_words_are_one_search(deepscope: Callable[..., Any]) -> None:
    one, several = deepscope("reading", "saxe exact", "--json"), deepscope("reading", "saxe", "exact", "--json")
    assert json.loads(several.out)["text"] == "saxe exact"
    assert (several.code, several.out) == (0, one.out)
