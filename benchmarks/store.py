"""The store beside MLflow's: runs of a twenty-point curve written, and ten thousand stored runs listed.

Each measurement runs in a process of its own, in an empty folder on the same disk. MLflow writes fewer runs than
deepscope: what it takes for one does not depend on how many there are.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from process import OURS, THEIRS, Costs, answer, medians, run, runs

RUNS, PEER_RUNS, LISTED, POINTS = 1000, 15, 10_000, 20
SMALL = {"runs": 20, "peer_runs": 2, "listed": 100}
MLFLOW = ("sqlite points", "sqlite batch", "files points", "files batch")


def write(what: str, count: int) -> None:
    """Store so many curves in this process, each as a run of its own or all as trials of one run; print the cost."""
    import numpy as np
    from meter import Meter

    from deepscope.lab import TrialRecord, open_run, runs, runs_folder

    def record(number: int) -> TrialRecord:
        curve = 1 / (1 + np.arange(POINTS) + number)
        return TrialRecord(
            identity=f"{number:020x}",
            study="benchmark",
            case={"width": 64, "rate": 0.1},
            seed=number,
            status="finished",
            values={"loss": curve, "last": float(curve[-1])},
        )

    def store(numbers: range) -> None:
        with open_run("study", "benchmark", {"scale": "quick", "modified": False, "settings": {}}) as run:
            for number in numbers:
                run.log.append(record(number))
            run.close("written", {"schema": 1, "study": "benchmark", "trials": len(numbers)}, {})

    parts = [range(n, n + 1) for n in range(count)] if what == "runs" else [range(count)]
    store(range(1))
    with Meter() as meter:
        for numbers in parts:
            store(numbers)
    stored, broken = runs()
    trials = sum(path.read_bytes().count(b"\n") for path in runs_folder().glob("*/trials.jsonl"))
    if broken or (len(stored), trials) != (1 + len(parts), 1 + count):
        raise SystemExit(f"{len(stored)} runs and {trials} trials are stored: {broken[:3]}")
    print(json.dumps(meter.cost))


def _ours(what: str, count: int) -> Costs:
    with tempfile.TemporaryDirectory() as folder:
        return answer(OURS, "store.py", what, count, DEEPSCOPE_HOME=folder)


def _theirs(what: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return answer(THEIRS, "peer_mlflow.py", *what.split(), count, folder=Path(folder))


def _listing(count: int, repeats: int) -> dict[str, Costs]:
    """Return what the whole process of ``deepscope runs list`` takes, without an index and with one."""
    with tempfile.TemporaryDirectory() as folder:
        _make_runs(Path(folder), count)
        without, *others = [_timed_list(Path(folder), count) for _ in range(1 + repeats)]
    return {"without an index": without, "with one": medians(others)}


def _make_runs(home: Path, count: int) -> None:
    """Store two runs, and copy what says what they are under further names."""
    answer(OURS, "store.py", "runs", 1, DEEPSCOPE_HOME=str(home))
    head = next(home.glob("runs/*/run.json")).read_bytes()
    for number in range(count - 2):
        path = home / "runs" / f"20200101-000000-{number:06d}-benchmark-0000"
        path.mkdir()
        (path / "run.json").write_bytes(head)
    (home / "runs" / "index.sqlite").unlink(missing_ok=True)


def _timed_list(home: Path, count: int) -> Costs:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    listed = len(run([OURS, "-m", "deepscope", "runs", "list"], DEEPSCOPE_HOME=str(home)).splitlines())
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if listed != count:
        raise SystemExit(f"{listed} runs are listed, not {count}")
    return {
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_seconds": wall,
    }


def _each(costs: Iterable[Costs], count: int) -> Costs:
    """Return the medians, the times for one of so many runs."""
    return {name: value if name == "extra_bytes" else value / count for name, value in medians(costs).items()}


def bench(repeats: int, *, runs: int = RUNS, peer_runs: int = PEER_RUNS, listed: int = LISTED) -> dict[str, Any]:
    """Return what a run takes in each store, the ratio that counts, and what a list takes."""
    theirs: dict[str, list[dict[str, Any]]] = {what: [] for what in MLFLOW}
    ours: dict[str, list[Costs]] = {"runs": [], "trials": []}
    # Interleaved, so that a slow moment of the machine hits all alike.
    for _ in range(repeats):
        for what, answers in theirs.items():
            answers.append(_theirs(what, peer_runs))
        for what, costs in ours.items():
            costs.append(_ours(what, runs))
    each = {f"mlflow {what}": _each((one["cost"] for one in answers), peer_runs) for what, answers in theirs.items()}
    each |= {what: _each(costs, runs) for what, costs in ours.items()}
    return {
        "runs": runs,
        "peer_runs": peer_runs,
        "repeats": repeats,
        "mlflow": theirs[MLFLOW[0]][0]["version"],
        "costs": each,
        "mlflow_to_trial": each["mlflow sqlite points"]["wall_seconds"] / each["trials"]["wall_seconds"],
        "listed": listed,
        "listing": _listing(listed, repeats),
    }


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Say which of what is promised does not hold: how much faster, and how soon ten thousand runs are listed."""
    with_index, without = result["listing"]["with one"], result["listing"]["without an index"]
    return [
        words
        for holds, words in (
            (result["mlflow_to_trial"] >= 100, "a trial is not stored 100 times as fast as a run of MLflow"),
            (with_index["cpu_seconds"] < 0.5, "listing the runs takes 0.5 s of CPU time or more"),
            (without["wall_seconds"] < 5, "listing the runs without an index takes 5 s or more"),
        )
        if not holds
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table and two sentences."""
    names = {
        "mlflow sqlite points": "MLflow, its default store, a call for each point",
        "mlflow sqlite batch": "MLflow, its default store, one call for all points",
        "mlflow files points": "MLflow, its older store of files, a call for each point",
        "mlflow files batch": "MLflow, its older store of files, one call for all points",
        "runs": "deepscope, each a run of its own",
        "trials": "deepscope, all as trials of one run",
    }
    costs = result["costs"]
    base = costs["mlflow sqlite points"]["wall_seconds"]
    lines = ["| a run of twenty points | elapsed | times as fast | CPU time | extra memory |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for what, name in names.items():
        cost = costs[what]
        lines.append(
            f"| {name} | {_milliseconds(cost['wall_seconds'])} | {_times(base / cost['wall_seconds'])} "
            f"| {_milliseconds(cost['cpu_seconds'])} | {cost['extra_bytes'] / 1e6:.1f} MB |"
        )
    listing = result["listing"]
    first, later = listing["without an index"], listing["with one"]
    return "\n".join(
        [
            *lines,
            "",
            "What MLflow calls a run, one training with its parameters and its curve, is a trial of a study here; a "
            "run of its own is a directory with a record, flushed to the disk. "
            f"{result['runs']:,} runs stored by deepscope, {result['peer_runs']} by MLflow {result['mlflow']}; "
            f"{runs(result['repeats'])}. `deepscope runs list` with {result['listed']:,} stored runs: "
            f"{later['cpu_seconds']:.2f} s of CPU time; without an index {first['wall_seconds']:.1f} s elapsed.",
        ]
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
