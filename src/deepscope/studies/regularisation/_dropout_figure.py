"""The picture of dropout: what it gains, what penalty it is, and where in a recurrent network it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIDGES = {
    "least_squares": ("no penalty", COLORS.muted, "s"),
    "identity": ("best λ‖w‖²", COLORS.second, "^"),
    "adaptive": ("adaptive ridge", COLORS.accent, "o"),
}
_ARMS = {
    "none": ("none", COLORS.muted),
    "vertical": ("vertical", COLORS.accent),
    "recurrent": ("recurrent", COLORS.second),
}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the gain of accuracy, the coefficients of regression, and the LSTMs' losses."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _gains(axes[0, 0], trials)
        _coefficients(axes[0, 1], trials)
        _courses(axes[1, 0], trials)
        _ends(axes[1, 1], trials)
    return figure


def _gains(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Dropout in perceptrons", xlabel="training images", ylabel="gain, points of test accuracy")
    ax.axhline(0, color=COLORS.ink, linewidth=0.8)
    chosen = trials[trials["part"] == "images"] if "part" in trials else trials.iloc[:0]
    sizes = (
        sorted({(int(n), int(width)) for n, width in chosen[["n_train", "width"]].to_numpy()}) if len(chosen) else []
    )
    sizes.sort(key=lambda each: (-each[1], each[0]))
    ax.set_xticks(range(len(sizes)), [f"{n:,}\nwidth {width}" for n, width in sizes])
    ax.set_xlim(-0.6, max(len(sizes), 1) - 0.4)
    for place, (n, width) in enumerate(sizes):
        gains = gain(trials, n, width).dropna().to_numpy(dtype=float)
        if len(gains):
            spread = np.linspace(-0.15, 0.15, len(gains))
            ax.plot(place + spread, gains, "o", color=COLORS.accent, alpha=0.3, markersize=3, markeredgewidth=0)
            figures.interval(ax, place, *figures.over_seeds(gains).reshape(3, 1), color=COLORS.accent)
    ax.set_yscale("symlog", linthresh=2)
    ax.set_yticks([-50, -20, -5, -2, -1, 0, 1, 2, 5], ["−50", "−20", "−5", "−2", "−1", "0", "1", "2", "5"])


def gain(trials: pd.DataFrame, n_train: int, width: int) -> pd.Series[float]:
    """Return by how many points of test accuracy networks with dropout are better, by seed."""
    case: dict[str, Any] = {"part": "images", "n_train": n_train, "width": width}
    with_it, without = (per_seed(trials[_dropped(trials) == each], "test_accuracy", **case) for each in (True, False))
    return 100 * (with_it.astype(float) - without.astype(float))


def _dropped(trials: pd.DataFrame) -> pd.Series[bool]:
    return (trials["rate"] if "rate" in trials else trials["seed"]) > 0


def _coefficients(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Regression: coefficients, by contribution")
    ax.set(xlabel="with dropped inputs", ylabel="in closed form")
    dropped = per_seed(trials, "dropped", part="regression")
    if dropped.empty:
        return
    x = np.concatenate([np.asarray(row, dtype=float) for row in dropped])
    ends = np.array([x.min(), x.max()])
    ax.plot(ends, ends, color=COLORS.ink, linewidth=0.8)
    for column, (name, color, marker) in _RIDGES.items():
        rows = per_seed(trials, f"{column}_coefficients", part="regression")
        y = np.concatenate([np.asarray(row, dtype=float) for row in rows])
        ax.plot(x, y, marker, color=color, markersize=3.5, alpha=0.7, markeredgewidth=0, label=name)
    ax.legend(fontsize=8, loc="upper left")


def _courses(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="LSTM: validation loss", xlabel="training steps", ylabel="nats a symbol")
    for arm, (name, color) in _ARMS.items():
        rows = per_seed(trials, "curve", part="sequences", arm=arm)
        if rows.empty:
            continue
        steps = np.asarray(per_seed(trials, "at_steps", part="sequences", arm=arm).iloc[0], dtype=float)
        middle, low, high = figures.over_seeds(np.stack([np.asarray(row, dtype=float) for row in rows]))
        ax.plot(steps, middle, color=color)
        ax.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        figures.direct_label(ax, float(steps[-1]), float(middle[-1]), name, color)
    _entropy(ax, trials)
    ax.set_xlim(0, 1.25 * ax.get_xlim()[1])


def _ends(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="LSTM: stopped where validation is best", ylabel="test, nats a symbol")
    ax.set_xticks(range(len(_ARMS)), [f"{name}" for name, _ in _ARMS.values()])
    ax.set_xlim(-0.6, len(_ARMS) - 0.4)
    ax.set_xlabel("connections with dropout")
    for place, (arm, (_, color)) in enumerate(_ARMS.items()):
        losses = per_seed(trials, "cross_entropy", part="sequences", arm=arm).to_numpy(dtype=float)
        if len(losses):
            spread = np.linspace(-0.15, 0.15, len(losses))
            ax.plot(place + spread, losses, "o", color=color, alpha=0.3, markersize=3, markeredgewidth=0)
            figures.interval(ax, place, *figures.over_seeds(losses).reshape(3, 1), color=color)
    _entropy(ax, trials)


def _entropy(ax: Axes, trials: pd.DataFrame) -> None:
    entropies = per_seed(trials, "entropy", part="sequences", arm="none")
    if len(entropies):
        ax.axhline(float(entropies.iloc[0]), linestyle=":", color=COLORS.ink, linewidth=0.9)
        ax.text(0.02, float(entropies.iloc[0]), "source", transform=ax.get_yaxis_transform(), fontsize=8, va="bottom")
