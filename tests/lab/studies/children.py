"""A study with a trial that waits for a child for ever, and one that leaves a child behind."""

from __future__ import annotations

import subprocess

import pandas as pd
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study
from deepscope.core import TrialRun
from deepscope.figures import new


def trial(case: Case, run: TrialRun) -> dict[str, object]:
    """Do what the study is for."""
    process = subprocess.Popen(["sleep", "1234"])
    if case.kind == "forever":
        process.wait()
    if case.kind == "fine":
        process.kill()
    return {"x": 1.0}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Judge nothing."""
    return []


def draw(trials: pd.DataFrame) -> Figure:
    """Draw nothing."""
    return new()[0]


STUDY = Study(
    claim="Trials run once.",
    source="rumelhart1986learning",
    topics=("tests",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={"quick": Grid(seeds=1, kind=["forever", "leaves", "fine"])},
)
