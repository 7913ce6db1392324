"""The picture of gradients through equations, of their memory, and of what flows can do."""

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


def draw(trials: pd.DataFrame) -> Figure:
    """Draw errors by tolerance, bytes by steps, the two equations that learn to turn the line, and a fit."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _errors(axes[0, 0], trials)
        _bytes(axes[0, 1], trials)
        _reversal(axes[1, 0], trials)
        _fit(axes[1, 1], trials)
    return figure


def _errors(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Error of the adjoint method's gradient", xlabel="tolerance of the solvers")
    ax.set(ylabel="error / norm of the gradient", xscale="log", yscale="log")
    for name, color, label in (
        ("lotka-volterra", COLORS.accent, "Lotka–Volterra"),
        ("perceptron", COLORS.second, "perceptron"),
    ):
        drawn = _curve(ax, trials, "at_tolerances", "adjoint", color, experiment="gradient", equation=name)
        if drawn is None:
            continue
        figures.direct_label(ax, drawn[0][0], drawn[1][0], label, color)
        if name == "lotka-volterra":
            places, middle = drawn
            ax.plot(places, middle[-1] * places / places[-1], ":", color=COLORS.ink)
    ax.set_xlim(3e-9, 0.3)
    ax.set_xticks([1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3])


def _bytes(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Kept for the backward pass", xlabel="steps of the solver", ylabel="kilobytes")
    ax.set(xscale="log", yscale="log")
    for column, color, label in (
        ("adjoint_bytes", COLORS.accent, "adjoint"),
        ("through_bytes", COLORS.second, "through the steps"),
    ):
        drawn = _curve(ax, trials, "at_steps", column, color, factor=1e-3, experiment="memory")
        if drawn is not None:
            figures.direct_label(ax, drawn[0][-1], drawn[1][-1], label, color)
            ax.set_xticks(drawn[0], [f"{place:g}" for place in drawn[0]])
            ax.set_xlim(0.8 * drawn[0][0], 8 * drawn[0][-1])
    ax.minorticks_off()


def _reversal(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Learning x ↦ −x", xlabel="training steps", ylabel="squared error / variance of x", yscale="log")
    for augment, color, label in ((0, COLORS.second, "on the line"), (1, COLORS.accent, "one more dimension")):
        curves = per_seed(trials, "curve", experiment="reverse", augment=augment).dropna()
        if curves.empty:
            continue
        rows = np.log(np.stack([np.asarray(each, dtype=float) for each in curves]))
        steps = 1 + np.arange(rows.shape[1])
        for row in rows:
            ax.plot(steps, np.exp(row), color=color, linewidth=0.5, alpha=0.5)
        ax.plot(steps, np.exp(rows.mean(0)), color=color)
        figures.direct_label(ax, steps[-1], float(np.exp(rows.mean(0)[-1])), label, color)
        # Not on the dotted line.
        ax.texts[-1].set_position((5, 8))
        ax.set_xlim(0, 1.7 * steps[-1])
        ax.set_xticks(np.linspace(0, steps[-1], 5))
    ax.minorticks_off()
    ax.axhline(1, linestyle=":", color=COLORS.muted, linewidth=0.9)


def _fit(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Lotka–Volterra: one fit of the rates", xlabel="prey", ylabel="predators")
    chosen = trials[trials["experiment"] == "fit"] if "experiment" in trials else trials
    if chosen.empty:
        return
    row = chosen.sort_values("seed").iloc[0]
    for column, color, label in (("before", COLORS.muted, "before"), ("after", COLORS.accent, "after")):
        x, y = np.asarray(list(row[column]), dtype=float).T
        ax.plot(x, y, color=color, linewidth=0.9)
        top = int(y.argmax())
        figures.direct_label(ax, x[top], y[top], label, color)
        ax.texts[-1].set_position((0, 6))
    ax.margins(y=0.12)
    x, y = np.asarray(list(row["data"]), dtype=float).T
    ax.plot(x, y, "o", color=COLORS.ink, markersize=3)


def _curve(
    ax: Axes, trials: pd.DataFrame, along: str, column: str, color: str, factor: float = 1.0, **case: Any
) -> tuple[Any, Any] | None:
    """Draw the geometric mean over seeds of a curve, and return its places and values."""
    curves = per_seed(trials, column, **case).dropna()
    if curves.empty:
        return None
    places = np.asarray(per_seed(trials, along, **case).dropna().iloc[0], dtype=float)
    rows = factor * np.stack([np.asarray(each, dtype=float) for each in curves])
    middle, low, high = figures.over_seeds(rows, log=True)
    figures.interval(ax, places, middle, low, high, color=color)
    ax.plot(places, middle, color=color, linewidth=0.8)
    return places, middle
