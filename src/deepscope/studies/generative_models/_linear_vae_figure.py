"""The picture of posterior collapse as a threshold, and of the bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.generative_models._bounds import DRAWS
from deepscope.studies.generative_models._gaussian_data import SPECTRUM

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VARIANCES = ((0.2, "o"), (0.9, "s"), (2.0, "^"), (5.0, "D"), (9.0, "v"))


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the units' divergences, how many are active, and the bounds on Gaussian data and on images."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _draw_divergences(axes[0, 0], trials)
        _draw_active(axes[0, 1], trials)
        _draw_linear_bounds(axes[1, 0], trials)
        _draw_image_bounds(axes[1, 1], trials)
    return figure


def _draw_divergences(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="A unit collapses where σ² exceeds its eigenvalue",
        xlabel="eigenvalue λ over noise variance σ²",
        ylabel="KL of the unit, nats",
        xscale="log",
    )
    ratio = np.geomspace(0.05, 45, 200)
    ax.plot(ratio, np.log(np.maximum(ratio, 1)) / 2, color=COLORS.ink, linewidth=0.9)
    ax.text(1.6, 1.0, "theory:\n½ ln(λ/σ²)", ha="right", fontsize=8)
    for variance, marker in _VARIANCES:
        for found in per_seed(trials, "divergences", part="exact", variance=variance, weight=1.0):
            ax.plot(
                np.array(SPECTRUM[: len(found)]) / variance,
                found,
                marker,
                color=COLORS.accent,
                markersize=3.5,
                markerfacecolor="none",
            )
    ax.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])


def _draw_active(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Units that are used", xlabel="noise variance σ²", ylabel="active units, of 10", xscale="log")
    grid = np.geomspace(0.12, 14, 400)
    counts = (np.array(SPECTRUM)[:, None] > grid).sum(0).clip(max=10)
    ax.plot(grid, counts, color=COLORS.ink, linewidth=0.9, drawstyle="steps-mid")
    ax.text(13, 5.2, "eigenvalues\nabove σ²", fontsize=8, ha="right")
    for variance, _ in _VARIANCES:
        active = per_seed(trials, "active", part="exact", variance=variance, weight=1.0)
        ax.plot(np.full(len(active), variance), active, "o", color=COLORS.accent)
    for part, color in (("exact", COLORS.second), ("drawn", COLORS.third)):
        active = per_seed(trials, "active", part=part, variance=0.0, weight=1.0)
        ax.plot(per_seed(trials, "noise", part=part, variance=0.0, weight=1.0), active, "x", color=color)
        if part == "exact" and len(active):
            ax.text(0.14, 8.9, "σ² learned", color=COLORS.second, fontsize=8)
    without = per_seed(trials, "active", part="exact", variance=5.0, weight=0.0)
    ax.plot(np.full(len(without), 5.0), without, "o", color=COLORS.second, markerfacecolor=COLORS.paper)
    if len(without):
        ax.text(5.0, 9.0, "no KL term", color=COLORS.second, fontsize=8, ha="center")
    ax.set_xticks([0.2, 1, 5], ["0.2", "1", "5"])
    ax.minorticks_off()
    ax.set_ylim(-0.5, 11)


def _draw_linear_bounds(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Linear model: bounds against ln p", xlabel="draws of z in the bound", ylabel="bound minus ln p, nats")
    for column, label, color in (
        ("bounds", "optimum", COLORS.accent),
        ("untrained_bounds", "untrained", COLORS.second),
    ):
        _draw_bounds(ax, per_seed(trials, column, part="exact", variance=0.0, weight=1.0), label, color)


def _draw_image_bounds(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Images of digits: bounds", xlabel="draws of z in the bound", ylabel="nats per image")
    for conditional, label, color in ((False, "VAE", COLORS.accent), (True, "given the label", COLORS.third)):
        _draw_bounds(ax, per_seed(trials, "bounds", part="images", conditional=conditional), label, color)
    alone = per_seed(trials, "independent", part="images", conditional=False)
    if len(alone):
        ax.axhline(alone.mean(), linestyle="--", color=COLORS.muted, linewidth=0.9)
        ax.text(DRAWS[0], alone.mean() + 0.15, "pixels independent", color=COLORS.muted, fontsize=8)


def _draw_bounds(ax: Axes, found: pd.Series, label: str, color: str) -> None:
    ax.set_xscale("log")
    ax.set_xticks(DRAWS, [str(each) for each in DRAWS])
    ax.minorticks_off()
    ax.set_xlim(0.8, 250)
    if not len(found):
        return
    middle, low, high = figures.over_seeds(np.stack(list(found)))
    ax.plot(DRAWS, middle, color=color)
    figures.interval(ax, DRAWS, middle, low, high, color=color)
    figures.direct_label(ax, DRAWS[-1], middle[-1], label, color)
