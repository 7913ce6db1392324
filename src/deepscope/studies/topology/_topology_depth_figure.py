"""The picture of topology over depth: how long the loop of each class stays."""

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

_NETWORKS = {"tanh": "tanh network", "relu": "ReLU network"}
_CLASSES = {"inner": "enclosed class", "outer": "enclosing class"}
_STAGES = {"untrained": ("before training", COLORS.muted), "trained": ("trained", COLORS.second)}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw bars over depth, a column per network and a row per class."""
    figure, axes = figures.new(7.2, 5.2, rows=2, cols=2, sharex=True, sharey=True)
    with figures.style():
        for row, (cloud, named) in zip(axes, _CLASSES.items(), strict=True):
            for ax, (activation, title) in zip(row, _NETWORKS.items(), strict=True):
                _bars(ax, trials, cloud, activation)
                ax.set_title(f"{title}, {named}")
            row[0].set_ylabel("longest loop ÷ diameter")
        for ax in axes[-1]:
            ax.set_xlabel("layer; 0: the points, last: the outputs")
        axes[0, 0].set_ylim(-0.02, 0.7)
    return figure


def _bars(ax: Axes, trials: pd.DataFrame, cloud: str, activation: str) -> None:
    disc = per_seed(trials, "disc", activation=activation).to_numpy(dtype=float)
    if len(disc):
        figures.band(ax, 0.0, float(disc.mean()))
    ax.axhline(2 / 3, color=COLORS.muted, linewidth=0.8, linestyle=":")
    for place, (stage, (name, color)) in enumerate(_STAGES.items()):
        curves = per_seed(trials, f"{cloud}_{stage}", activation=activation)
        if curves.empty:
            continue
        middle, low, high = figures.over_seeds(np.stack([np.asarray(each, dtype=float) for each in curves]))
        layers = np.arange(len(middle)) + 0.12 * place
        ax.plot(layers, middle, color=color, linewidth=0.9)
        figures.interval(ax, layers, middle, low, high, color=color)
        ax.text(0.03, 0.2 - 0.08 * place, name, color=color, fontsize=8, transform=ax.transAxes)
    if len(disc):
        ax.text(0.03, 0.03, "a disc without a loop", color=COLORS.muted, fontsize=8, transform=ax.transAxes)
