"""The picture of what pruning costs, and of scores of filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.compression._pruning_trials import COMPRESSIONS, NINE, THIRTY_TWO

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Colour, line and name.
_ARMS = {
    "random": (COLORS.second, "-", "random"),
    "once": (COLORS.muted, "--", "smallest, not retrained"),
    "layer": (COLORS.third, "-", "smallest of each layer"),
    "global": (COLORS.accent, "-", "smallest of all"),
}
_SCORES = {"taylor": "Taylor", "norm": "norm of weights", "random": "random"}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw errors by compression, and correlations of scores with the oracle."""
    figure, axes = figures.new(7.2, 3.3, cols=2, width_ratios=[3, 2])
    with figures.style():
        _errors(axes[0], trials)
        _correlations(axes[1], trials)
    return figure


def _errors(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Pruned step by step", xlabel="times fewer weights", ylabel="test images wrong (%)")
    dense = per_seed(trials, "dense", part="weights")
    if len(dense):
        ax.axhline(np.mean([_wrong(row)[-1] for row in dense]), linestyle=":", color=COLORS.ink, linewidth=0.9)
    for place, (arm, (color, dashes, name)) in enumerate(_ARMS.items()):
        ax.text(0.03, 0.94 - 0.07 * place, name, color=color, fontsize=8, transform=ax.transAxes)
        _curve(ax, trials, arm, COMPRESSIONS, color, dashes)
    ax.text(0.03, 0.94 - 0.07 * len(_ARMS), "× dense, as many weights", fontsize=8, transform=ax.transAxes)
    small = per_seed(trials, "small", part="weights")
    if len(small):
        middle = np.mean([_wrong(row) for row in small], axis=0)
        ax.plot([COMPRESSIONS[NINE], COMPRESSIONS[THIRTY_TWO]], middle, "x", color=COLORS.ink, markersize=5)
    ax.set(xscale="log", yscale="log", xlim=(1.3, 36))
    ax.set_xticks([2, 4, 9, 16, 32], ["2", "4", "9", "16", "32"])
    ax.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    ax.minorticks_off()


def _curve(ax: Axes, trials: pd.DataFrame, arm: str, places: tuple[float, ...], color: str, dashes: str) -> None:
    rows = per_seed(trials, arm, part="weights")
    if len(rows):
        middle, low, high = figures.over_seeds(np.stack([_wrong(row) for row in rows]))
        ax.plot(places, middle, dashes, color=color)
        figures.interval(ax, places, middle, low, high, color=color)


def _wrong(accuracies: object) -> np.ndarray:
    return 100 - 100 * np.asarray(accuracies, dtype=float)


def _correlations(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Filters ranked by", ylabel="rank correlation with the oracle", ylim=(-0.6, 1.05))
    ax.axhline(0, color=COLORS.muted, linewidth=0.8)
    for place, score in enumerate(_SCORES):
        values = per_seed(trials, f"{score}_correlation", part="filters").dropna().to_numpy(float)
        if len(values):
            ax.plot([place] * len(values), values, "o", color=COLORS.accent, alpha=0.25, markersize=3)
            figures.interval(ax, place, *figures.over_seeds(values).reshape(3, 1))
            together = per_seed(trials, f"{score}_together", part="filters").dropna().to_numpy(float)
            ax.plot(place + 0.15, together.mean(), "o", color=COLORS.second, markersize=5, markerfacecolor="none")
    ax.set_xticks(range(len(_SCORES)), list(_SCORES.values()))
    ax.set_xlim(-0.5, len(_SCORES) - 0.5)
