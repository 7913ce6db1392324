"""A study whose trials write down that they were begun; one kills its worker the first time."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study
from deepscope.core import TrialRun
from deepscope.figures import new


def trial(case: Case, run: TrialRun) -> dict[str, object]:
    """Do what the study is for."""
    with Path(os.environ["COUNTED"]).open("a") as file:
        file.write(f"{run.seed}\n")
    if run.seed == 7 and not run.checkpoint.exists():
        run.checkpoint.write_text("was here")
        os.kill(os.getpid(), 9)
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
    scales={"quick": Grid(seeds=20, kind="counted")},
)
