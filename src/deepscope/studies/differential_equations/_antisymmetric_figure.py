"""The picture of what antisymmetric weights keep."""

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

_COLORS = {
    "antisymmetric": COLORS.accent,
    "free": COLORS.second,
    "dissipative": COLORS.third,
    "none": COLORS.muted,
}
_NAMES = {"none": "no layers"}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the growth of signals by equation, Euler's steps, and the accuracy in noise."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        for ax, experiment, title in (
            (axes[0, 0], "linear", "Equation y′ = A y"),
            (axes[0, 1], "tanh", "Equation y′ = tanh(A y)"),
        ):
            _signals(ax, title)
            for generator in ("antisymmetric", "free", "dissipative"):
                _curve(ax, trials, "norms", generator, experiment=experiment, generator=generator)
        # Powers of ten are too far apart here.
        axes[0, 1].set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
        axes[0, 1].set_ylim(0.2, 12)
        _signals(axes[1, 0], "Antisymmetric layers, steps of 0.1")
        _curve(axes[1, 0], trials, "norms", "antisymmetric", "no diffusion", experiment="euler")
        _curve(axes[1, 0], trials, "diffused_norms", "none", "diffusion", experiment="euler")
        _accuracies(axes[1, 1], trials)
    return figure


def _signals(ax: Axes, title: str) -> None:
    ax.set(title=title, xlabel="time", ylabel="norm of the signal / first norm", yscale="log")
    ax.minorticks_off()


def _curve(ax: Axes, trials: pd.DataFrame, column: str, style: str, name: str | None = None, **case: Any) -> None:
    """Draw the geometric mean over seeds of a curve over time."""
    curves = per_seed(trials, column, **case).dropna()
    if curves.empty:
        return
    times = np.asarray(per_seed(trials, "times", **case).iloc[0], dtype=float)
    middle, low, high = figures.over_seeds(np.stack([np.asarray(each, dtype=float) for each in curves]), log=True)
    figures.interval(ax, times, middle, low, high, color=_COLORS[style])
    ax.plot(times, middle, color=_COLORS[style], linewidth=0.8)
    figures.direct_label(ax, times[-1], middle[-1], name or style, _COLORS[style])
    ax.set_xlim(0, 1.42 * times[-1])
    ax.set_xticks(np.linspace(0, times[-1], 5))


def _accuracies(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Digits: trained networks in noise", xlabel="deviation of the noise (pixels: 1)")
    ax.set(ylabel="% of the test images named", xlim=(-0.05, 1.5))
    ax.set_xticks([0, 0.5, 1])
    for place, (generator, color) in enumerate(_COLORS.items()):
        curves = per_seed(trials, "accuracy", experiment="digits", generator=generator).dropna()
        if curves.empty:
            continue
        middle, low, high = 100 * figures.over_seeds(np.stack([np.asarray(each, dtype=float) for each in curves]))
        # Beside each other, lest one hide the other.
        noise = np.array([0.0, 0.5, 1.0]) + 0.015 * (place - 1.5)
        figures.interval(ax, noise, middle, low, high, color=color)
        ax.plot(noise, middle, ":" if generator == "none" else "-", color=color, linewidth=0.8)
        # The two best end at one place.
        shift = {"none": 5, "antisymmetric": -5}.get(generator, 0)
        figures.direct_label(ax, 1.02, middle[-1], _NAMES.get(generator, generator), color)
        ax.texts[-1].set_position((5, shift))
