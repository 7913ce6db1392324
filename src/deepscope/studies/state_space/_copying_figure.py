"""The picture of what state spaces copy, with and without selection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, name and line, by arm, gate, and how many times as wide.
_ARMS = {
    ("selective", False, 1): (COLORS.accent, "selective", "-"),
    ("kernel", False, 1): (COLORS.second, "free kernel", "-"),
    ("frozen", False, 1): (COLORS.third, "frozen", "-"),
    ("selective", True, 1): (COLORS.accent, "gated", "--"),
    ("kernel", True, 1): (COLORS.second, "gated", "--"),
    ("kernel", False, 4): (COLORS.second, "4 × as wide", ":"),
    ("h3", False, 1): (COLORS.muted, "H3", "--"),
}
#: Names at the ends of lines stand at least so many points below each other.
_LINE = 7.0
#: What is held, by the column of the accuracy.
_HELD = {"accuracy": "nothing", "without_step": "Δ", "without_B": "B", "without_C": "C", "unselected": "all three"}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracies during training, at greater lengths, without parts of the selection, and the step sizes."""
    figure, axes = figures.new(7.2, 6.0, rows=2, cols=2)
    with figures.style():
        _learning(axes[0, 0], trials, "selective", "Values at random places")
        _learning(axes[0, 1], trials, "fixed", "Control: values at fixed places")
        _held(axes[1, 0], trials)
        _longer(axes[1, 1], trials)
    return figure


def _learning(ax: Axes, trials: pd.DataFrame, task: str, title: str) -> None:
    ax.set(title=title, xlabel="training steps", ylabel="% of the tokens right", ylim=(0, 104))
    last = _curves(ax, trials, "at_steps", "curve", task) or 1.0
    _chance(ax, trials, task)
    ax.set_xlim(0, 1.42 * last)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= last])


def _longer(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Tested with more steps than trained on", xlabel="steps before the end, times those in training")
    ax.set(ylabel="% of the tokens right", ylim=(0, 104))
    _curves(ax, trials, "factors", "longer", "selective")
    _chance(ax, trials, "selective")
    ax.set_xscale("log")
    ax.set_xlim(0.9, 20)
    ax.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ax.minorticks_off()


def _curves(ax: Axes, trials: pd.DataFrame, along: str, column: str, task: str) -> float:
    """Draw all arms' means over seeds, with their names at the end, and return where they end."""
    ends: list[tuple[float, str, str]] = []
    last = 0.0
    for (arm, gated, wide), (color, name, dashes) in _ARMS.items():
        case: dict[str, Any] = {"task": task, "arm": arm, "gated": gated, "wide": wide}
        rows = per_seed(trials, column, **case)
        if rows.empty:
            continue
        places = np.asarray(per_seed(trials, along, **case).iloc[0], dtype=float)
        middle, low, high = 100 * figures.over_seeds(np.stack([np.asarray(row, dtype=float) for row in rows]))
        ax.plot(places, middle, dashes, color=color)
        figures.interval(ax, places, middle, low, high, color=color)
        ends.append((float(middle[-1]), name, color))
        last = max(last, float(places[-1]))
    height = math.inf
    for value, name, color in sorted(ends, reverse=True):
        height = min(value, height - _LINE)
        figures.direct_label(ax, last, height, name, color)
    return last


def _chance(ax: Axes, trials: pd.DataFrame, task: str) -> None:
    chosen = trials[trials["task"] == task] if "task" in trials else trials
    if chosen.empty:
        return
    share = 100 / chosen["n_values"].iloc[0]
    ax.axhline(share, linestyle=":", color=COLORS.muted, linewidth=0.9)
    ax.text(0.02, share - 6, "guessing", transform=ax.get_yaxis_transform(), fontsize=8)


def _held(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Trained selective networks, with these at their means", ylabel="% of the tokens right")
    ax.set(ylim=(0, 104), xlim=(-0.5, len(_HELD) - 0.5))
    ax.set_xticks(range(len(_HELD)), list(_HELD.values()))
    for place, column in enumerate(_HELD):
        values = (
            per_seed(trials, column, task="selective", arm="selective", gated=False, wide=1)
            .dropna()
            .to_numpy(dtype=float)
        )
        if len(values):
            ax.bar(place, 100 * values.mean(), color=COLORS.accent, alpha=0.25, width=0.6)
            figures.interval(ax, place, *(100 * figures.over_seeds(values)).reshape(3, 1), color=COLORS.accent)
