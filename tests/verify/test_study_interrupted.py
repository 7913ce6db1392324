"""An interrupted study goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepscope.lab._trial_log import read_trials

pytestmark = pytest.mark.verify

COMMAND = [str(Path(sys.executable).parent / "deepscope"), "study", "run", "slow.py", "--workers", "2", "--json"]
STUDY = """
import pathlib
import time

from deepscope import Criterion, Grid, Study, per_seed

def trial(case, run):
    pathlib.Path(f"started{run.seed}").touch()
    time.sleep(0 if run.seed < 2 or pathlib.Path("quick").exists() else 60)
    return {"x": 1.0}

def judge(trials):
    x = per_seed(trials, "x")
    return [Criterion.effect("x", x, above=0.5), Criterion.effect("nothing", x - 1, within=0.5, control=True)]

def draw(trials):
    from deepscope.figures import new

    return new()[0]

STUDY = Study(
    claim="x is there.", source="belkin2019reconciling", topics=("testing",), trial=trial, judge=judge, draw=draw,
    scales={"quick": Grid(seeds=4)},
)
"""


def stored(home: Path) -> int:
    return sum(len(read_trials(log)[0]) for log in (home / "runs").glob("*/trials.jsonl"))


def test_interrupted_by_the_keys_of_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(STUDY)
    environment = {**os.environ, "DEEPSCOPE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    process = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal interrupts the workers as well: all of the group.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):
        # A trial that has ended is stored a moment later: what is asked is that nothing stored is run again.
        if len(list(tmp_path.glob("started*"))) == 4 and stored(tmp_path / "home") == 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "deepscope study run slow.py --workers 2 --json"
    (tmp_path / "quick").touch()
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    record = json.loads(done.stdout)
    assert (record["trials"], record["reused"], record["verdict"]) == (4, 2, "reproduced")
