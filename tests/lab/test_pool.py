"""A pool of workers: whatever one trial does, the others finish; the numbers are those of one process."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deepscope.lab import StudyRun, run_study
from deepscope.lab._groups import WorkerGroups
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import TrialRecord, fingerprint
from deepscope.lab._worker import kill_group

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
    assert finished["seed"].tolist() == finished["x"].tolist() == [0, 1]


@pytest.mark.parametrize(("fault", "said"), FAIL.items())
def test_what_cannot_finish_says_why(faults: StudyRun, fault: str, said: str) -> None:
    errors = [failure["error"] for failure in faults.record["failures"] if failure["case"] == f"fault={fault}"]
    assert len(errors) == 2
    for error in errors:
        assert said in error
        assert "\n" not in error


def test_every_trial_is_there_once(faults: StudyRun) -> None:
    records = records_of(faults)
    assert len(records) == len({record.identity for record in records}) == 2 * (len(FINISH) + len(FAIL))
    assert faults.record["failed"] == 2 * len(FAIL)
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
    left = [pid for pid in set(psutil.pids()) - before if sleeps_in(pid) == str(tmp_path)]
    assert left == []


WORKER = """
import os, subprocess
os.setpgid(0, 0)
print(subprocess.Popen(["sleep", "1234"], stdout=subprocess.DEVNULL).pid, flush=True)
input()
"""


@pytest.fixture
def worker() -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A process that leads a group of its own, and a child that it leaves behind."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WORKER], stdin=pipe, stdout=pipe, text=True) as leader:
        assert leader.stdout is not None
        child = psutil.Process(int(leader.stdout.readline()))
        yield leader, child
        leader.kill()
        with suppress(psutil.NoSuchProcess):
            child.kill()


def test_a_group_is_killed_when_its_worker_dies_and_then_forgotten(
    worker: tuple[subprocess.Popen[str], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, child = worker
    killed: list[int] = []
    monkeypatch.setattr("deepscope.lab._groups.kill_group", lambda pid: (killed.append(pid), kill_group(pid)))
    groups = WorkerGroups()
    groups.lives(leader.pid)
    groups.bury()
    assert killed == []
    leader.kill()
    leader.wait()
    groups.bury()
    assert killed == [leader.pid]
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    # Whoever has the number now is left alone.
    groups.bury()
    groups.end()
    assert killed == [leader.pid]


def test_what_is_killed_at_the_end_of_a_run_are_the_workers_that_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSCOPE_HOME", str(tmp_path))
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    ended: list[tuple[int, bool]] = []
    began: list[None] = []

    class Watched(WorkerGroups):
        def died(self, pid: int) -> None:
            if began:
                ended.append((pid, psutil.pid_exists(pid)))
            super().died(pid)

        def end(self) -> None:
            began.append(None)
            super().end()

    monkeypatch.setattr("deepscope.lab._pool.WorkerGroups", Watched)
    assert run_study(STUDIES / "counted.py", workers=2).record["failed"] == 0
    assert len({pid for pid, _ in ended}) == len(ended) <= 2
    assert all(alive for _, alive in ended)


def sleeps_in(pid: int) -> str:
    """Return the store that a sleeping child of a trial has inherited: that of no other run at the same time."""
    try:
        process = psutil.Process(pid)
        return process.environ().get("DEEPSCOPE_HOME", "") if process.name() == "sleep" else ""
    except psutil.Error:
        return ""


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
