"""The atlas as data, and the repository's own records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from atlas_runs import FIGURE, study_run

from deepscope.core import DeepscopeError, rows
from deepscope.lab import atlas, coverage, records_folder
from deepscope.lab._atlas import identity_of
from deepscope.lab._atlas_records import record_of, write_record
from deepscope.studies import catalog

HEADINGS = {heading.id: heading for heading in catalog()}


@pytest.fixture(scope="module")
def own() -> dict:
    return atlas()


def record(folder: Path, name: str, identity: str | None = None, **changes: object) -> None:
    identity = identity or identity_of(HEADINGS[name])
    write_record(folder, record_of(study_run(name, **changes), FIGURE, identity))


def test_everything_is_plain_json_and_nothing_is_imported() -> None:
    program = "import json, sys; from deepscope.lab import atlas; json.dumps(atlas()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_study_has_a_fresh_record_of_a_verdict(own: dict) -> None:
    """What the repository says of a claim was found with the code that stands beside it."""
    assert [study["id"] for study in own["studies"]] == sorted(HEADINGS)
    for study in own["studies"]:
        assert study["record"], f"deepscope atlas record {study['id']}"
        assert not study["stale"], f"deepscope atlas record {study['id']}"
        assert study["record"]["claim"] == study["claim"]
        assert study["figure"].lstrip().startswith("<")


def test_the_files_of_a_study_are_shown_as_they_are(own: dict) -> None:
    (study,) = (each for each in own["studies"] if each["id"] == "resnet-euler")
    paths = [each["path"] for each in study["files"]]
    assert paths[0] == "src/deepscope/studies/differential_equations/resnet_euler.py"
    assert set(paths[1:]) == {
        f"src/deepscope/studies/differential_equations/{n}.py" for n in ("_reference", "_residual_network")
    }
    assert study["files"][0]["text"] == HEADINGS["resnet-euler"].path.read_text(encoding="utf-8")


def test_a_record_counts_until_the_code_changes(tmp_path: Path) -> None:
    record(tmp_path, "resnet-euler")
    record(tmp_path, "grokking", identity="that of another day")
    found = {study["id"]: study for study in atlas(tmp_path)["studies"]}
    assert (found["resnet-euler"]["stale"], found["grokking"]["stale"]) == ("", "its code has changed since")
    by_row = coverage(tmp_path)["by_row"]
    assert by_row["resnet-euler"] == ["study:resnet-euler"]
    assert by_row["grokking"] == []


def test_an_inconclusive_record_demonstrates_nothing(tmp_path: Path) -> None:
    record(tmp_path, "resnet-euler", gain=0.48)
    assert coverage(tmp_path)["by_row"]["resnet-euler"] == []
    record(tmp_path, "resnet-euler", gain=-0.5)
    assert coverage(tmp_path)["by_row"]["resnet-euler"] == ["study:resnet-euler"]


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    found = coverage(tmp_path)
    assert found["rows"] == len(rows()) == len(found["by_row"]) == 640
    assert found["demonstrated"] == sum(bool(each) for each in found["by_row"].values())
    assert sum(each["rows"] for each in found["by_group"].values()) == 640
    assert sum(each["demonstrated"] for each in found["by_group"].values()) == found["demonstrated"]
    # Without any record what its own test demonstrates still counts.
    assert found["by_row"]["relu"] == ["instrument:health"]


def test_a_record_of_no_study_is_refused(tmp_path: Path) -> None:
    record(tmp_path, "gone", identity="x")
    with pytest.raises(DeepscopeError, match=r"a record is that of no study: .*gone.json"):
        atlas(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeepscopeError, match=r"there is no such folder of records: .*gone"):
        atlas(tmp_path / "gone")


def test_records_name_no_place_on_the_machine_that_made_them() -> None:
    for path in records_folder().glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text
        assert "/tmp" not in text
