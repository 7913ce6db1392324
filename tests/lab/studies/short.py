"""A study of many short trials whose numbers depend on seeds, threads and the order of sums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from deepscope import Case, Criterion, Grid, Study, per_seed
from deepscope.core import TrialRun
from deepscope.figures import interval, new


def trial(case: Case, run: TrialRun) -> dict[str, object]:
    """Train a little, so that BLAS, torch's generators and the shared step all have a say."""
    basis = run.shared(make_basis, size=8)["basis"]
    model = torch.nn.Linear(8, 1)
    x = torch.randn(256, 8, generator=run.generator) @ torch.as_tensor(basis, dtype=torch.float32)
    y = case.slope * x.sum(dim=1, keepdim=True) + torch.randn(256, 1)
    for _ in range(5):
        loss = ((model(x) - y) ** 2).mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad
    curve = np.cumsum(np.random.default_rng(run.seed).normal(size=20))
    return {"loss": loss, "weights": model.weight.detach().ravel(), "curve": curve, "never": None}


def make_basis(size: int) -> dict[str, object]:
    """A step that all trials share, drawn from a generator that the lab seeds."""
    return {"basis": torch.linalg.qr(torch.randn(size, size)).Q, "size": size}


def judge(trials: pd.DataFrame) -> list[Criterion]:
    """Larger slopes leave larger losses; slopes of both signs the same."""
    flat, steep, down = (per_seed(trials, "loss", slope=slope) for slope in (0.5, 2.0, -2.0))
    return [
        Criterion.effect("log ratio of losses", np.log(steep / flat), above=0.1),
        Criterion.effect("log ratio of losses, other sign", np.log(down / steep), within=0.3, control=True),
    ]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw losses over slopes."""
    figure, ax = new()
    losses = trials.groupby("slope")["loss"]
    interval(ax, sorted(losses.groups), losses.mean(), losses.min(), losses.max())
    ax.set(xlabel="slope", ylabel="loss")
    return figure


SLOPES = [-2.0, 0.5, 2.0, 4.0]
STUDY = Study(
    claim="Larger slopes leave larger losses.",
    source="rumelhart1986learning",
    topics=("tests",),
    trial=trial,
    judge=judge,
    draw=draw,
    scales={
        "smoke": Grid(seeds=1, slope=SLOPES),
        "quick": Grid(seeds=5, slope=SLOPES),
        "full": Grid(seeds=50, slope=SLOPES),
    },
)
