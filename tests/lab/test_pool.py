"""A pool of workers: whatever one trial does, the others finish; the numbers are those of one process."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import psutil
import pytest

from deepscope.lab import StudyRun, run_study
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import TrialRecord, fingerprint

STUDIES = Path(__file__).parent / "studies"
FAULTS = runpy.run_path(str(STUDIES / "faults.py"))
FINISH, FAIL = FAULTS["FINISH"], FAULTS["FAIL"]


def records_of(result: StudyRun) -> list[TrialRecord]:
    records, bad = read_trials(result.path / "trials.jsonl")
    assert bad == 0
    return records


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> StudyRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        return run_study(
            STUDIES / "faults.py", executor="pool", workers=2, timeout=2.0, memory_bytes=2**30, progress=lambda *_: None
        )


@pytest.mark.parametrize("fault", FINISH)
def test_what_can_finish_finishes(faults: StudyRun, fault: str) -> None:
    finished = faults.trials[faults.trials["fault"] == fault]
    assert finished["seed"].tolist() == finished["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("fault", "said"), FAIL.items())
def test_what_cannot_finish_says_why(faults: StudyRun, fault: str, said: str) -> None:
    errors = [failure["error"] for failure in faults.record["failures"] if failure["case"] == f"fault={fault}"]
    assert len(errors) == 3
    for error in errors:
        assert said in error
        assert "\n" not in error


def test_every_trial_is_there_once(faults: StudyRun) -> None:
    records = records_of(faults)
    assert len(records) == len({record.identity for record in records}) == 3 * (len(FINISH) + len(FAIL))
    assert faults.record["failed"] == 3 * len(FAIL)
    assert all("fault" in record.log[0] for record in records if record.status == "finished")


def test_a_trial_that_failed_keeps_what_it_said_and_where(faults: StudyRun) -> None:
    record = next(each for each in records_of(faults) if each.case["fault"] == "raises")
    assert record.log[0] == "fault raises"
    assert any("raise ValueError" in line for line in record.log)


def test_a_trial_leaves_nothing_behind_for_the_next_one(faults: StudyRun) -> None:
    leaked = faults.trials["fault"] == "leaks"
    assert len(set(faults.trials.loc[~leaked, "state"])) == 1
    assert "float64 2" in faults.trials.loc[leaked, "state"].iloc[0]


def test_no_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    before = set(psutil.pids())
    result = run_study(STUDIES / "children.py", timeout=3.0)
    assert result.record["failed"] == 1
    left = [pid for pid in set(psutil.pids()) - before if "sleep" in " ".join(command_line(pid))]
    assert left == []


def command_line(pid: int) -> list[str]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def test_a_trial_is_run_once_and_only_that_of_a_dead_worker_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    result = run_study(STUDIES / "counted.py", workers=2)
    assert result.record["failed"] == 0
    begun = Counter((tmp_path / "counted").read_text().split())
    assert begun.pop("7") == 2
    assert begun == {str(seed): 1 for seed in range(20) if seed != 7}


def test_inline_and_one_and_two_workers_give_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, options in {
        "inline": {"executor": "inline"},
        "one": {"executor": "pool", "workers": 1},
        "two": {"executor": "pool", "workers": 2},
    }.items():
        monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path / name))
        result = run_study(STUDIES / "short.py", **options)
        prints = sorted((record.identity, fingerprint(record)) for record in records_of(result))
        found.append((prints, result.record["criteria"], result.figure))
    assert found[0] == found[1] == found[2]


def test_more_workers_than_processors_are_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    result = run_study(STUDIES / "short.py", scale="smoke", workers=999)
    assert "999 workers were asked for" in result.record["notes"][0]
    assert result.record["failed"] == 0
