"""A study whose trials do everything that a trial should not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study
from deepscope.core import TrialRun
from deepscope.figures import new

FAULTS = ["raises", "nan", "wrong", "forever", "memory", "prints", "forks", "exits", "dies", "dies-once", "fine"]


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
    if case.fault == "dies" or (case.fault == "dies-once" and first_time(run.checkpoint)):
        os.kill(os.getpid(), 9)
    return {"x": float(run.seed), "y": np.arange(3) + 0.5}


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
    scales={"smoke": Grid(seeds=1, fault="fine"), "quick": Grid(seeds=3, fault=FAULTS)},
    timeout=5.0,
)
