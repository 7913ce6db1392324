"""What a stranger sees first: the demo, from the command to the report."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify


def test_the_demo_trains_examines_and_reports_within_its_budget(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "deepscope"), "examine", "--out", "report.html", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "DEEPSCOPE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A promise to a stranger, several times above what it takes: not a measurement of speed.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 90
    record = json.loads(done.stdout)
    assert set(record["readings"]) == {"anatomy", "spectrum", "health", "curvature"}
    assert record["not_run"] == []
    assert [f for f in record["findings"] if f["severity"] == "problem"] == []
    assert "handwritten digits" in record["subject"]["about"]
    assert (tmp_path / "report.html").stat().st_size > 10_000
