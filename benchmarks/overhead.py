"""What the lab adds to a trial: trials that return one number and do nothing else, in warm local workers.

Beside it a bare pool of processes, joblib and Ray with tasks that are handed as much and return as much. They neither
seed generators, nor store what was found, nor survive a worker's death. Start-up does not count: the first trials are
not timed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from process import OURS, THEIRS, answer, medians, runs

UNTIMED, TIMED, WORKERS = 100, 500, 2
SMALL = {"untimed": 10, "timed": 40}
PEERS = ("pool", "joblib", "ray")
STUDY = '''"""Trials that do nothing."""

from deepscope import Criterion, Grid, Study
from deepscope.figures import new


def trial(case, run):
    return {"value": float(run.seed)}


def judge(trials):
    return [Criterion.exact("seed", trials["value"] - trials["seed"], within=0.0, control=True)]


def draw(trials):
    return new(height=1.0)[0]


STUDY = Study(
    claim="Nothing takes no time.", source="belkin2019reconciling", topics=("nothing",),
    trial=trial, judge=judge, draw=draw,
    scales={"quick": Grid(seeds=SEEDS, width=64)},
)
'''


def measure(untimed: int, timed: int, workers: int) -> None:
    """Run the study in this process; print the seconds from the end of the untimed trials to that of all."""
    from deepscope.lab import run_study
    from deepscope.training import Tracker

    class Clock(Tracker):
        """Notes when each trial reaches the lab."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def open(self, name: str, parameters: object) -> None:
            self.ends.append(time.perf_counter())

        def log(self, numbers: object, step: int) -> None:
            pass

        def close(self) -> None:
            pass

    path, clock = Path.cwd() / "nothing.py", Clock()
    path.write_text(STUDY.replace("SEEDS", str(untimed + timed)), encoding="utf-8")
    done = run_study(path, executor="pool", workers=workers, trackers=[clock])
    if not done.stored or len(clock.ends) != untimed + timed:
        raise SystemExit(f"not all trials were run: {done.record['failures'] or done.record['notes']}")
    print(json.dumps({"seconds": clock.ends[-1] - clock.ends[untimed - 1]}))


def bench(repeats: int, *, untimed: int = UNTIMED, timed: int = TIMED) -> dict[str, Any]:
    """Return the elapsed time that a trial takes, for the lab and for each peer."""
    workers = min(WORKERS, os.cpu_count() or 1)
    samples, versions = [], {}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            told = answer(OURS, "overhead.py", untimed, timed, workers, folder=home, DEEPSCOPE_HOME=str(home / "home"))
        sample = {"deepscope": told["seconds"] / timed}
        for what in PEERS:
            told = answer(THEIRS, "peer_executors.py", what, workers, untimed, timed)
            sample[what], versions[what] = told["seconds"] / timed, told["version"]
        samples.append(sample)
    return {
        "workers": workers,
        "timed": timed,
        "repeats": repeats,
        "versions": versions,
        "seconds_per_trial": medians(samples),
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say whether what is promised does not hold: the time that a worker spends on a trial that does nothing."""
    spent = result["workers"] * result["seconds_per_trial"]["deepscope"]
    return [] if spent < 0.03 else [f"the lab adds {1000 * spent:.0f} ms to a trial, not less than 30"]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and one sentence."""
    versions = result["versions"]
    names = {
        "deepscope": "`deepscope.lab.run_study`, local pool",
        "pool": "bare `ProcessPoolExecutor`",
        "joblib": f"joblib {versions['joblib']}",
        "ray": f"Ray {versions['ray']}, local",
    }
    lines = ["| a trial that does nothing | time of a worker | trials a second |", "| --- | ---: | ---: |"]
    for what, name in names.items():
        seconds = result["seconds_per_trial"][what]
        lines.append(f"| {name} | {1000 * result['workers'] * seconds:.2g} ms | {_rounded(1 / seconds)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{result['workers']} warm workers, {result['timed']} trials, {runs(result['repeats'])}. "
            "The peers only hand over and return; the lab also seeds, stores and watches.",
        ]
    )


def _rounded(value: float) -> str:
    """Return two meaningful digits, without an exponent."""
    return f"{float(f'{value:.2g}'):,.0f}"


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
