"""The picture of the long time lags: errors over training, and what each learner is left with."""

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

#: Errors of the constant 1, and of a network that knows the second number alone.
CONSTANT, SECOND = 1 / 6, 1 / 12
#: Below this the adding problem is solved.
SOLVED = 0.01
_PAINTS = {"lstm": COLORS.accent, "gru": COLORS.second, "rnn": COLORS.third}
_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "tanh", "guessing": "best guess"}
_LEAST = 4e-4


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the adding problem: errors over training on the left, test errors on the right."""
    figure, (left, right) = figures.new(height=3.2, cols=2, sharey=True, width_ratios=[1.25, 1])
    with figures.style():
        _over_training(left, trials)
        _at_the_end(right, trials)
        left.set(title="mean squared error, 100 steps", xlabel="training step", yscale="log")
        right.set_title("test error over 10 and 100 steps")
    # From below the mark of what is solved to above the constant.
    left.set_ylim(_LEAST, 0.5)
    return figure


def _over_training(ax: Axes, trials: pd.DataFrame) -> None:
    furthest = 100.0
    for learner, paint in _PAINTS.items():
        ends = []
        for curve in _curves(trials, learner):
            steps = 50 * np.arange(1, len(curve) + 1)
            ax.plot(steps, curve, color=paint, linewidth=0.9, alpha=0.8)
            ends.append((float(steps[-1]), float(curve[-1])))
        if ends:
            furthest = max(furthest, *(step for step, _ in ends))
            _name(ax, learner, ends, paint)
    for error, text in ((CONSTANT, "the constant 1"), (SECOND, "second number known")):
        ax.axhline(error, linestyle=":", color=COLORS.muted, linewidth=0.9)
        below: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 8, "color": COLORS.muted}
        ax.annotate(text, (1, error), (0, -2), xycoords=ax.get_yaxis_transform(), textcoords="offset points", **below)
    ax.set_xlim(0, 1.05 * furthest)
    figures.band(ax, _LEAST, SOLVED)
    ax.text(
        0.98, 1.15 * _LEAST, "solved", ha="right", color=COLORS.muted, fontsize=8, transform=ax.get_yaxis_transform()
    )


def _name(ax: Axes, learner: str, ends: list[tuple[float, float]], paint: str) -> None:
    if learner == "rnn":
        ax.text(max(ends)[0], 0.22, "tanh, two rates", color=paint, ha="right", fontsize=8)
    else:
        step, error = np.mean(ends, axis=0)[0], np.min(ends, axis=0)[1]
        ax.text(step, 0.85 * error, _NAMES[learner], color=paint, ha="center", va="top", fontsize=8)


def _curves(trials: pd.DataFrame, learner: str) -> list[Any]:
    if trials.empty or "loss" not in trials:
        return []
    wanted = {"task": "adding", "learner": learner, "length": 100, "answers": "true"}
    chosen = trials[np.logical_and.reduce([trials[name] == value for name, value in wanted.items()])]
    return [np.asarray(curve) for curve in chosen["loss"] if np.size(curve)]


def _at_the_end(ax: Axes, trials: pd.DataFrame) -> None:
    for place, learner in enumerate(_NAMES):
        for length, shift, paint in ((10, -0.15, COLORS.muted), (100, 0.15, _PAINTS.get(learner, COLORS.ink))):
            errors = _test_errors(trials, learner, length)
            if not len(errors):
                continue
            over_seeds = figures.over_seeds(errors, log=True)
            figures.interval(ax, place + shift, *over_seeds, color=paint)
            if learner == "rnn":
                # Beside the cell that the number of steps matters to: below its solved error, above the other.
                y, away, va = (
                    (np.nanmin(over_seeds), -4, "top") if length == 10 else (np.nanmax(over_seeds), 4, "bottom")
                )
                text: dict[str, Any] = {"ha": "center", "va": va, "fontsize": 8, "color": paint}
                ax.annotate(f"{length} steps", (place + shift, y), (0, away), textcoords="offset points", **text)
    ax.axhline(CONSTANT, linestyle=":", color=COLORS.muted, linewidth=0.9)
    figures.band(ax, _LEAST, SOLVED)
    ax.set_xticks(range(len(_NAMES)), list(_NAMES.values()))
    ax.set_xlim(-0.5, len(_NAMES) - 0.5)


def _test_errors(trials: pd.DataFrame, learner: str, length: int) -> Any:
    """Return test errors by seed, of the learning rate that ends better in each."""
    if trials.empty or "learning_rate" not in trials:
        return np.empty(0)
    case: dict[str, Any] = {"task": "adding", "learner": learner, "length": length, "answers": "true"}
    rates = trials["learning_rate"].dropna().unique()
    found = [per_seed(trials, "test_error", learning_rate=rate, **case).astype(float) for rate in rates]
    by_seed: dict[int, float] = {}
    for series in found:
        for seed, error in series.dropna().items():
            by_seed[int(str(seed))] = min(float(error), by_seed.get(int(str(seed)), np.inf))
    return np.array(list(by_seed.values()))
