"""A study whose trials do everything that a trial should not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study
from deepscope.core import TrialRun
from deepscope.figures import new

FINISH = ["fine", "prints", "forks", "dies-once", "leaks", "nan-progress", "folder"]
FAIL = {
    "raises": "ValueError: planted (faults.py, line",
    "nan": "returned nan for x",
    "wrong": "returned object for x",
    "big": "returned an integer of more than 64 bits for x",
    "surrogate": "returned text that is not Unicode for x",
    "forever": "took longer than 2 s",
    "memory": "needs more memory than 1 GiB",
    "exits": "SystemExit: 3",
    "ends": "Ending",
    "interrupts": "KeyboardInterrupt",
    "mute": "MuteError",
    "dies": "its worker process died twice (killed",
    "leaves": "its worker process died twice (exit code 0)",
}


class Ending(BaseException):
    """What no handler of ordinary errors catches."""


class MuteError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


def trial(case: Case, run: TrialRun) -> object:
    """Do what the case says."""
    run.log(f"fault {case.fault}")
    if case.fault == "raises":
        raise ValueError("planted\nover two lines")
    if case.fault == "nan":
        return {"x": float("nan")}
    if case.fault == "wrong":
        return {"x": object()}
    if case.fault == "forever":
        while True:
            time.sleep(0.01)
    if case.fault == "memory":
        return {"x": float(np.ones(2**33).sum())}
    if case.fault == "prints":
        print("noise from Python")
        sys.stdout.flush()
        subprocess.run(["echo", "noise from a child"], check=True)
    if case.fault == "forks" and os.fork() == 0:
        return {"x": -1.0}
    if case.fault == "exits":
        sys.exit(3)
    if case.fault == "leaves":
        os._exit(0)
    if case.fault in RAISED:
        raise RAISED[case.fault]
    if case.fault in RETURNED:
        return {"x": RETURNED[case.fault]}
    if case.fault == "leaks":
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        np.seterr(all="raise")
        os.environ["LEAKED"] = "yes"
        os.chdir("/")
    if case.fault == "nan-progress":
        run.progress(float("nan"))
    if case.fault == "folder":
        run.checkpoint.mkdir(exist_ok=True)
    if case.fault == "dies" or (case.fault == "dies-once" and first_time(run.checkpoint)):
        os.kill(os.getpid(), 9)
    return {"x": float(run.seed), "y": np.arange(3) + 0.5, "state": state()}


def state() -> str:
    """Return what an earlier trial in the same process could have changed."""
    with np.errstate():
        return f"{torch.zeros(1).dtype} {torch.get_num_threads()} {np.geterr()} {os.environ.get('LEAKED')} {Path.cwd()}"


RAISED = {"ends": Ending(), "interrupts": KeyboardInterrupt(), "mute": MuteError()}
RETURNED = {"big": 2**63, "surrogate": "\ud800"}


def first_time(path: Path) -> bool:
    """Whether this was never called before with this file."""
    if path.exists():
        return False
    path.write_text("was here")
    return True


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge nothing much."""
    values = trials.groupby("seed")["x"].mean() if "x" in trials else {}
    return [Criterion.effect("x", values, above=-1.0), Criterion.effect("control", values, within=1e9, control=True)]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw nothing much."""
    figure, ax = new()
    ax.plot(trials["seed"], trials["seed"], "o")
    return figure


STUDY = Study(
    claim="Whatever a trial does, the others finish.",
    source="rumelhart1986learning",
    topics=("tests",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={"smoke": Grid(seeds=1, fault="fine"), "quick": Grid(seeds=2, fault=[*FINISH, *FAIL])},
    timeout=5.0,
)
