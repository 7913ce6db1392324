"""Ten thousand stored runs are listed in a blink, and the index is made from nothing in a few seconds."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify

RUNS = 10_000
#: CPU seconds: what so many runs add to a process that finds none, and a whole process that makes the index.
LISTED, REBUILT = 0.25, 5.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for number in range(RUNS):
        minute, second = divmod(number, 60)
        name = (
            f"20260101-{minute // 60:02d}{minute % 60:02d}{second:02d}-000000-double-descent-rff-{number % 65536:04x}"
        )
        run = home / "runs" / name
        run.mkdir(parents=True)
        head = {
            "layout": 2, "kind": "study", "name": "double-descent-rff", "date": "2026-01-01T00:00:00+00:00",
            "outcome": f"Reproduced: 5 of 5 criteria hold ({number} seeds, quick).", "scale": "quick",
            "modified": False, "settings": {}, "seeds": None,
        }  # fmt: skip
        (run / "run.json").write_text(json.dumps(head, indent=1))
    return home


def listed(store: Path) -> tuple[list[str], float]:
    """Return the lines of ``runs list``, and the CPU seconds that the process took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "deepscope", "runs", "list"],
        env={**os.environ, "DEEPSCOPE_HOME": str(store)},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == ""
    return done.stdout.splitlines(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_an_index_is_rebuilt_from_nothing_quickly(store: Path) -> None:
    (store / "runs" / "index.sqlite").unlink(missing_ok=True)
    lines, seconds = listed(store)
    print(f"rebuilt in {seconds:.2f} s of CPU time")
    assert len(lines) == RUNS
    assert (store / "runs" / "index.sqlite").exists()
    assert seconds < REBUILT


def test_many_runs_are_listed_in_a_blink(store: Path, tmp_path: Path) -> None:
    first, _ = listed(store)
    # The least of three: what else the machine does only adds.
    found = [listed(store) for _ in range(3)]
    seconds = min(seconds for _, seconds in found) - min(listed(tmp_path)[1] for _ in range(3))
    print(f"listed in {seconds:.2f} s of CPU time")
    assert all(lines == first for lines, _ in found)
    assert len(first) == RUNS
    assert first[0] > first[-1]
    assert seconds < LISTED
