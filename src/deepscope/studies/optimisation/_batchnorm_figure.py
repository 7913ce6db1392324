"""The picture of training with and without batch normalisation."""

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

_ARMS = {
    "plain": (COLORS.ink, "plain", "-"),
    "affine": (COLORS.muted, "scale and shift alone", ":"),
    "batch norm": (COLORS.accent, "batch norm", "-"),
    "noisy": (COLORS.second, "batch norm, then noise", "--"),
}
_TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]
_PANELS = {
    "sigmoid": "Sigmoid, 3 hidden layers",
    "relu": "ReLU, 6 hidden layers",
    "shallow": "Control: ReLU, 2 hidden layers",
}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw steps until trained over the learning rate for three networks, and the drift of moments."""
    figure, axes = figures.new(7.2, 5.8, rows=2, cols=2)
    with figures.style():
        for ax, network in zip(axes.flat, _PANELS, strict=False):
            _speeds(ax, trials, network)
        _drifts(axes[1, 1], trials)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _speeds(ax: Axes, trials: pd.DataFrame, network: str) -> None:
    ax.set(title=_PANELS[network], xlabel="learning rate", ylabel="steps to 95 % of the training set")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    for arm, (color, name, dashes) in _ARMS.items():
        rows = per_seed(trials, "reached", network=network, arm=arm)
        if rows.empty:
            continue
        rates = np.asarray(per_seed(trials, "rates", network=network, arm=arm).iloc[0], dtype=float)
        steps = np.stack([np.asarray(row, dtype=float) for row in rows])
        # A rate counts where every seed got there.
        kept = (steps > 0).all(axis=0)
        if not kept.any():
            continue
        middle, low, high = figures.over_seeds(steps[:, kept], log=True)
        ax.plot(rates[kept], middle, dashes, color=color, label=name)
        figures.interval(ax, rates[kept], middle, low, high, color=color)
    _step_axis(ax)


def _step_axis(ax: Axes) -> None:
    """Write steps as whole numbers."""
    low, high = ax.get_ylim()
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(low, high)


def _drifts(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Drift of moments, and speed", xlabel="drift a step, standard deviations")
    ax.set(ylabel="steps to 95 %, best rate")
    ax.set_xscale("log")
    ax.set_yscale("log")
    for network, marker in (("sigmoid", "o"), ("relu", "^")):
        for arm, (color, _, _) in _ARMS.items():
            drift = per_seed(trials, "drift", network=network, arm=arm).dropna()
            best = per_seed(trials, "best", network=network, arm=arm).reindex(drift.index)
            if len(drift):
                ax.plot(
                    drift.astype(float),
                    best.astype(float),
                    marker,
                    color=color,
                    markersize=5,
                    alpha=0.6,
                    markeredgewidth=0,
                )
    for name, height in (("circles: sigmoid", 0.95), ("triangles: ReLU", 0.87)):
        ax.text(0.02, height, name, transform=ax.transAxes, fontsize=8, color=COLORS.muted)
    _step_axis(ax)
    if not ax.lines:
        ax.set(xlim=(0.01, 1.0), ylim=(10.0, 1000.0))
