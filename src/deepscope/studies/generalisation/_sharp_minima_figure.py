"""The picture of batch size and sharpness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.generalisation._batch_arms import ARMS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Numbers = pd.Series[float]

#: What is drawn in its own colour, from the sharpest down; all else is grey.
PAINTS = {"large": COLORS.second, "small": COLORS.accent, "scaled": COLORS.third}
#: What is set beside that of the small batch, and its name.
MEASURES = {
    "eigenvalue": "largest eigenvalue",
    "trace": "trace",
    "keskar": "rise in a box (Keskar)",
    "sam": "rise in a ball (SAM)",
    "adaptive": "adaptive rise (ASAM)",
    "invariant": "scale-invariant",
    "gradient_noise": "gradient noise tr Σ",
}
#: What is taken of the rescaled layers too.
RESCALED = ("eigenvalue", "trace", "invariant")


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the valleys, the ratios of all measures, and eigenvalue and test accuracy of every training."""
    figure, axes = figures.new(7.2, 6.6, rows=2, cols=2)
    with figures.style():
        _valleys(axes[0, 0], trials)
        _ratios(axes[0, 1], trials)
        shown = [name for name in ARMS if len(_solved(trials, "eigenvalue", name))]
        _by_training(axes[1, 0], shown, {name: _solved(trials, "eigenvalue", name) for name in shown})
        axes[1, 0].set(title="Largest eigenvalue of the Hessian", xlim=(0, None))
        _by_training(axes[1, 1], shown, {name: 100 * _solved(trials, "test_accuracy", name) for name in shown})
        axes[1, 1].set(title="Test accuracy (%)")
        axes[1, 1].tick_params(labelleft=False)
    return figure


def _solved(trials: pd.DataFrame, column: str, arm: str) -> Numbers:
    """Return a number by seed, of trainings that reached the loss."""
    found = per_seed(trials, column, arm=arm)
    return found[per_seed(trials, "steps", arm=arm).notna()].dropna()


def _valleys(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the loss along the sharpest direction, mean and interval over seeds."""
    ax.set(title="Loss along the sharpest direction", xlabel="distance from the solution", ylabel="nats")
    for place, (arm, color) in enumerate(PAINTS.items()):
        ax.text(0.03, 0.95 - 0.09 * place, ARMS[arm], color=color, fontsize=8, va="top", transform=ax.transAxes)
        curves = _solved(trials, "valley", arm)
        if curves.empty:
            continue
        distances = np.stack(per_seed(trials, "distances", arm=arm)[curves.index].to_list())[0]
        middle, low, high = figures.over_seeds(np.stack(curves.to_list()))
        ax.fill_between(distances, low, high, color=color, alpha=0.25, linewidth=0)
        ax.plot(distances, middle, color=color)
    ax.set_xlim(0, None)
    ax.set_ylim(0, None)


def _ratios(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw how much larger each measure is than of the small batch."""
    ax.set(title="Sharpness, over small batch’s", xscale="log")
    ax.axvline(1, color=COLORS.accent, linewidth=0.8, zorder=0)
    for place, measure in enumerate(MEASURES):
        small = _solved(trials, measure, "small")
        for arm in ("large", "scaled"):
            _point(ax, place, _solved(trials, measure, arm) / small, PAINTS[arm])
        if measure in RESCALED:
            _point(ax, place, _solved(trials, f"rescaled_{measure}", "small") / small, COLORS.accent, filled=False)
    for place, (name, color) in enumerate(
        (
            (ARMS["large"], COLORS.second),
            (ARMS["scaled"], COLORS.third),
            ("small batch, rescaled", COLORS.accent),
        )
    ):
        ax.text(0.99, 0.03 + 0.08 * place, name, color=color, fontsize=8, ha="right", transform=ax.transAxes)
    ax.set_yticks(range(len(MEASURES)), list(MEASURES.values()))
    ax.set_ylim(len(MEASURES) + 2.0, -0.6)
    ax.set_xticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    ax.minorticks_off()
    ax.grid(visible=False)


def _point(ax: Axes, place: float, ratios: Numbers, color: str, *, filled: bool = True) -> None:
    """Draw the geometric mean over seeds with its interval."""
    known = ratios.dropna().to_numpy(float)
    if not len(known):
        return
    mean, low, high = figures.over_seeds(known, log=True)
    ax.plot([low, high], [place] * 2, color=color, linewidth=1.1, alpha=0.6)
    ax.plot(mean, place, "o", color=color, markersize=5, markerfacecolor=color if filled else "none")


def _by_training(ax: Axes, shown: list[str], values: dict[str, Numbers]) -> None:
    """Draw a row for each training: seeds faint, and their mean with its interval."""
    for place, arm in enumerate(shown):
        numbers, color = values[arm].to_numpy(float), PAINTS.get(arm, COLORS.muted)
        ax.plot(numbers, [place] * len(numbers), "o", color=color, alpha=0.25, markersize=3, markeredgewidth=0)
        mean, low, high = figures.over_seeds(numbers)
        ax.plot([low, high], [place] * 2, color=color, linewidth=1.1)
        ax.plot(mean, place, "o", color=color, markersize=5, markeredgewidth=0)
    ax.set_yticks(range(len(shown)), [ARMS[arm] for arm in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.grid(visible=False)
    ax.grid(visible=True, axis="x")
