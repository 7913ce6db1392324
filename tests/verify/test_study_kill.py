"""A study that is killed at any moment, whole or in part, ends as if it had not been."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from paused_study import paused_study

from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import fingerprint

pytestmark = pytest.mark.verify

TRIALS = 200
COMMAND = [sys.executable, "-m", "deepscope", "study", "run", "paused.py", "--scale", "full", "--json"]


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paused_study(tmp_path)
    monkeypatch.chdir(tmp_path)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DEEPSCOPE_HOME": str(home)}


def undisturbed(home: Path) -> dict[str, Any]:
    done = subprocess.run(COMMAND, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def found(home: Path, record: dict[str, Any]) -> tuple[Any, ...]:
    """What must not depend on how the run went: verdict, criteria, every trial once with its very bits, the figure."""
    records, bad = read_trials(Path(record["path"]) / "trials.jsonl")
    assert bad == 0
    assert len(records) == len({each.identity for each in records}) == TRIALS == record["trials"]
    prints = sorted((each.identity, fingerprint(each)) for each in records)
    figure = (Path(record["path"]) / "figures" / "study.svg").read_text(encoding="utf-8")
    return record["verdict"], record["criteria"], record["failed"], prints, figure


def stored(home: Path) -> int:
    """Number of different finished trials in the store."""
    logs = (home / "runs").glob("*/trials.jsonl")
    return len({each.identity for log in logs for each in read_trials(log)[0]})


def test_killed_at_twenty_random_moments_and_resumed(tmp_path: Path) -> None:
    expected = found(tmp_path / "one", undisturbed(tmp_path / "one"))
    home = tmp_path / "two"
    generator = random.Random(7)
    # Every other kill comes when so many trials are stored; the rest from before the first import on, and at the latest
    # when a trial of theirs is stored. Progress is what counts, so that a fast machine does not finish in between.
    targets = iter(sorted(generator.sample(range(1, 3 * TRIALS // 4), 10)))
    grown = [0]
    for kill in range(20):
        process = subprocess.Popen(
            COMMAND, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if kill % 2:
            wait_until_stored(home, next(targets), process)
            time.sleep(generator.uniform(0.0, 0.02))
        else:
            wait_until_stored(home, grown[-1] + 1, process, patience=generator.uniform(0.0, 6.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        grown.append(stored(home))
    # The kills were of use: they came while trials were left to run, and nothing stored was ever lost.
    assert grown == sorted(grown)
    assert sum(before < after < TRIALS for before, after in itertools.pairwise(grown)) >= 8
    assert found(home, undisturbed(home)) == expected
    assert not list((home / "checkpoints").rglob("*.checkpoint"))


def wait_until_stored(home: Path, trials: int, process: subprocess.Popen[bytes], patience: float = 60.0) -> None:
    """Wait for so many finished trials, but no longer than the process lives and the patience lasts."""
    deadline = time.monotonic() + patience
    while stored(home) < trials and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_workers_of_a_killed_run_end_by_themselves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    workers = wait_for_workers(process.pid, tmp_path)
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert (len(gone), alive) == (len(workers), [])


def test_a_killed_worker_costs_nothing_but_its_trial_again(tmp_path: Path) -> None:
    expected = found(tmp_path / "one", undisturbed(tmp_path / "one"))
    home = tmp_path / "two"
    process = subprocess.Popen(
        COMMAND, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for worker in wait_for_workers(process.pid, home):
        worker.kill()
    at_the_kill = stored(home)
    out, err = process.communicate()
    assert 0 < at_the_kill < TRIALS
    assert process.returncode == 0, err
    assert found(home, json.loads(out)) == expected


def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    workers = wait_for_workers(process.pid, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "stored" in err
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert stored(tmp_path) > 0


def test_two_runs_at_once_share_their_trials(tmp_path: Path) -> None:
    both = [
        subprocess.Popen(COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    records = [json.loads(out) for out, _ in ended]
    assert found(tmp_path, records[0]) == found(tmp_path, records[1])
    assert sorted(record["reused"] for record in records) == [0, TRIALS]
    assert any("Another run of paused is at work" in err for _, err in ended)


def wait_for_workers(pid: int, home: Path) -> list[psutil.Process]:
    """Wait until trials are being stored, and return the processes that run them."""
    before = stored(home)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if stored(home) > before:
            children = psutil.Process(pid).children(recursive=True)
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        time.sleep(0.02)
    raise AssertionError("no trial was stored within a minute")
