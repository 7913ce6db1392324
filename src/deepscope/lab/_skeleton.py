"""The skeleton of a study: a file that runs, to be rewritten."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from deepscope.core import UsageError, write_atomically
from deepscope.studies import catalog, study_id

_TEXT = '''"""{title}: say here what the literature claims, what is done to test it, and what doing nothing would score.

Run it with: deepscope study run {file}
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study, per_seed
from deepscope.core import TrialRun
from deepscope.figures import COLORS, direct_label, interval, new


def trial(case: Case, run: TrialRun) -> dict[str, object]:
    """One case, one seed: draw n numbers and return how far their mean is from the truth.

    All randomness comes from ``run``. Return numbers, None where there is none, and curves as arrays.
    """
    generator = np.random.default_rng(run.seed)
    draws = generator.normal(case.truth, 1.0, size=(case.repeats, case.n))
    return {{"error": float(np.sqrt(np.mean((draws.mean(axis=1) - case.truth) ** 2)))}}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Say what must hold. Thresholds stand here before the run; an effect is one number per seed."""
    few, many = per_seed(trials, "error", n=25, truth=0.0), per_seed(trials, "error", n=100, truth=0.0)
    shifted = per_seed(trials, "error", n=25, truth=3.0)
    return [
        Criterion.effect(
            "log ratio of errors, n = 25 over n = 100",
            np.log(few / many),
            within=0.2,
            target=float(np.log(2)),
            published="log 2",
        ),
        # A control is a condition in which the effect must be absent.
        Criterion.effect("log ratio of errors, truth 3 over truth 0", np.log(shifted / few), within=0.2, control=True),
    ]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the figure that shows it, from the stored trials alone."""
    figure, ax = new(height=3.0)
    for truth, color in ((0.0, COLORS.accent), (3.0, COLORS.second)):
        shown = trials[trials["truth"] == truth].groupby("n")["error"]
        n = np.array(sorted(shown.groups))
        interval(ax, n, shown.mean(), shown.min(), shown.max(), color=color)
        if len(n):
            direct_label(ax, n[-1], shown.mean().iloc[-1], f"truth {{truth:g}}", color)
    ax.set(xscale="log", yscale="log", xlabel="draws n", ylabel="error of the mean")
    return figure


CASES = dict(n=[25, 100], truth=0.0)
CONTROL = dict(n=25, truth=3.0)

STUDY = Study(
    claim="The error of a mean falls as the square root of the number of draws.",
    source="hesterberg2015teachers",
    topics=("statistics",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={{
        "smoke": Grid(seeds=1, **CASES) + Grid(seeds=1, **CONTROL),
        "quick": Grid(seeds=10, **CASES) + Grid(seeds=10, **CONTROL),
        "full": Grid(seeds=100, **CASES) + Grid(seeds=100, **CONTROL),
    }},
    defaults={{"repeats": 1000}},
    protocol="Means of n normal draws, 1,000 repeats for each seed; the error is their root mean square distance.",
)
'''


def write_skeleton(name: str, folder: Path) -> Path:
    """Write the file of a new study that runs as it is.

    Parameters
    ----------
    name
        Its id: letters, digits and hyphens.
    folder
        Where the file goes.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        The name is none, or that of a study of the atlas, or the file is there already.
    OSError
        The file cannot be written.
    """
    stem = name.removesuffix(".py").replace("-", "_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", stem):
        raise UsageError(
            "a study's name has letters, digits and hyphens", where=name, todo='Choose one such as "my-claim".'
        )
    path = folder / f"{stem}.py"
    if stem in sys.stdlib_module_names or keyword.iskeyword(stem):
        raise UsageError("Python itself has this name", where=name, todo="Choose another name.")
    if study_id(path) in {heading.id for heading in catalog()}:
        raise UsageError("a study of the atlas has this name", where=name, todo="Choose another name.")
    if path.exists():
        raise UsageError("the file is there already", where=str(path), todo="Choose another name, or move it away.")
    title = stem.replace("_", " ").capitalize()
    return write_atomically(path, _TEXT.format(title=title, file=path.name))
