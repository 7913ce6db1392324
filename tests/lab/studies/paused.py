"""The trials of ``short``, each after a pause: a test that kills who runs them then finds them at work."""

from __future__ import annotations

import time

import short

from deepscope import Case, Grid, Study
from deepscope.core import TrialRun


def trial(case: Case, run: TrialRun) -> dict[str, object]:
    """Wait, so that two workers are busy for two seconds, and do what ``short`` does."""
    time.sleep(0.02)
    return short.trial(case, run)


STUDY = Study(
    claim="Larger slopes leave larger losses.",
    source="rumelhart1986learning",
    topics=("tests",),
    trial=trial,
    judge=short.judge,
    draw=short.draw,
    scales={"quick": Grid(seeds=5, slope=short.SLOPES), "full": Grid(seeds=50, slope=short.SLOPES)},
)
