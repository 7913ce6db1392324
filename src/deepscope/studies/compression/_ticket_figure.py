"""The picture of tickets beside other sparse networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, line and name.
_ARMS = {
    "ticket": (COLORS.accent, "-", "ticket"),
    "reinitialised": (COLORS.second, "-", "re-initialised"),
    "shuffled": (COLORS.third, "-", "shuffled mask"),
    "untrained": (COLORS.muted, "--", "mask of the start"),
}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracies, steps and accuracies before training by the share of weights that remains."""
    figure, axes = figures.new(7.2, 3.1, cols=3)
    with figures.style():
        _curves(axes[0], trials, "accuracy", factor=-100, offset=100)
        axes[0].set(title="After training", ylabel="test images wrong (%)", yscale="log")
        axes[0].set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        axes[0].minorticks_off()
        _curves(axes[1], trials, "steps", log=True)
        axes[1].set(title="Steps to 90 %", ylabel="training steps")
        _curves(axes[2], trials, "start", factor=100)
        axes[2].set(title="Before training", ylabel="test images right (%)", ylim=(0, 104))
        _names(axes[0])
    return figure


def _curves(
    ax: Axes, trials: pd.DataFrame, column: str, *, factor: float = 1.0, offset: float = 0.0, log: bool = False
) -> None:
    """Draw each arm's means over seeds, and the dense network's."""
    dense = offset + factor * per_seed(trials, f"dense_{column}").dropna().to_numpy(float)
    if len(dense):
        middle, low, high = figures.over_seeds(dense, log=log)
        figures.band(ax, low, high)
        ax.axhline(middle, linestyle=":", color=COLORS.ink, linewidth=0.9)
    for arm, (color, dashes, _) in _ARMS.items():
        rows = per_seed(trials, f"{arm}_{column}")
        if rows.empty:
            continue
        values = offset + factor * np.stack([np.asarray(row, dtype=float) for row in rows])
        places = 100 * np.asarray(per_seed(trials, "remaining").iloc[0], dtype=float)
        middle, low, high = figures.over_seeds(values, log=log)
        ax.plot(places, middle, dashes, color=color)
        figures.interval(ax, places, middle, low, high, color=color)
    ax.set_xscale("log")
    if log:
        ax.set_yscale("log")
    ax.set_xlim(65, 3)
    ax.set_xticks([50, 20, 10, 5], ["50", "20", "10", "5"])
    ax.minorticks_off()
    ax.set_xlabel("weights that remain (%)")


def _names(ax: Axes) -> None:
    names = [*((name, color) for color, _, name in _ARMS.values()), ("dotted: dense", COLORS.ink)]
    for place, (name, color) in enumerate(names):
        ax.text(0.04, 0.93 - 0.075 * place, name, color=color, fontsize=8, transform=ax.transAxes)
