"""The picture of grokking: two accuracies over training, and what their delay depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.core import FEWEST_SEEDS, Value, interval
from deepscope.figures import COLORS
from deepscope.studies.learning_dynamics._grokking_delay import DELAYED, MAIN, REPORTED, sweep
from deepscope.studies.learning_dynamics._modular_arithmetic import OPERATIONS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[NDArray[Any], NDArray[Any]]
_PAINTS = (COLORS.accent, COLORS.second)
_TICKS = (5, 10, 20, 50, 100, 200, 500, 1000)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracies, weights and embedding over training at the left, what the delay depends on at the right."""
    known = [each for each in OPERATIONS if not trials.empty and (trials["operation"] == each).any()]
    main: dict[str, Value] = {"operation": known[0] if known else OPERATIONS[0], **MAIN}
    figure, axes = figures.new(7.2, 4.6, rows=2, cols=2, width_ratios=[1.4, 1], height_ratios=[1.15, 1])
    (accuracy, by_fraction), (inside, by_decay) = axes
    with figures.style():
        _accuracies(accuracy, trials, main)
        _inside(inside, trials, main)
        inside.set_xlim(accuracy.get_xlim())
        by_decay.set_xscale("log")
        for ax, axis in ((by_fraction, "fraction"), (by_decay, "weight_decay")):
            found = {operation: sweep(trials, operation, axis) for operation in known}
            for (operation, points), paint in zip(found.items(), _PAINTS, strict=False):
                _delays(ax, points, paint, operation if len(known) > 1 else "")
            _delay_axis(ax, sorted({x for points in found.values() for x in points}))
        by_fraction.set_title("steps to 99 %: validation ÷ training")
        by_fraction.set_xlabel("share of the table (reported: falls)")
        by_decay.set_xlabel("weight decay (reported: helps most)")
    return figure


def _accuracies(ax: Axes, trials: pd.DataFrame, main: dict[str, Value]) -> None:
    train = _curves(trials, "train_accuracy", main)
    validation = _curves(trials, "validation_accuracy", main)
    undecayed = _curves(trials, "validation_accuracy", {**main, "weight_decay": 0.0})
    random = _curves(trials, "validation_accuracy", {**main, "labels": "random"})
    ax.set_xscale("log")
    _lines(ax, undecayed, COLORS.third)
    _lines(ax, random, COLORS.muted, ":")
    _lines(ax, train, COLORS.accent)
    _lines(ax, validation, COLORS.second)
    for curves, text, paint in ((train, "training", COLORS.accent), (validation, "validation", COLORS.second)):
        rises = [steps[values >= 60][0] for steps, values in curves if values.max() >= 60]
        if rises:
            _left_label(ax, min(rises), 60, text, paint)
    _at_the_end(ax, undecayed, 15, "no decay", COLORS.third)
    _at_the_end(ax, random, 7.5, "random labels", COLORS.muted)
    ax.set_ylim(-4, 104)
    ax.set_ylabel("accuracy, %")
    ax.set_title(f"{main['operation']} modulo a prime, a line per seed", parse_math=False)


def _inside(ax: Axes, trials: pd.DataFrame, main: dict[str, Value]) -> None:
    norm, frequencies = (_curves(trials, column, main, relative=True) for column in ("weight_norm", "frequencies"))
    ax.set_xscale("log")
    _lines(ax, frequencies, COLORS.third)
    _lines(ax, norm, COLORS.accent)
    _at_the_end(ax, norm, 20, "norm of the weights", COLORS.accent)
    _at_the_end(ax, frequencies, 8, "frequencies in the embedding", COLORS.third)
    ax.set_ylim(0, 108)
    ax.set_ylabel("% of the start")
    ax.set_xlabel("training step")


def _delays(ax: Axes, points: dict[float, pd.DataFrame], paint: str, name: str) -> None:
    """Draw mean delays with their intervals; lower bounds as open triangles."""
    for x, point in points.items():
        delay = point["delay"].dropna().to_numpy(dtype=float)
        if not len(delay):
            continue
        mean = float(np.exp(delay.mean()))
        if point["censored"].any():
            ax.plot(x, mean, "^", color=paint, markersize=6, markerfacecolor="none")
            figures.direct_label(ax, x, mean, "at least")
            continue
        low, high = np.exp(interval(delay)) if len(delay) >= FEWEST_SEEDS else (np.nan, np.nan)
        figures.interval(ax, x, mean, low, high, color=paint)
        if name:
            figures.direct_label(ax, x, mean, name, paint)
            name = ""


def _delay_axis(ax: Axes, xs: list[float]) -> None:
    ax.set_yscale("log")
    ax.set_yticks(_TICKS, [f"{tick} ×" for tick in _TICKS])
    ax.set_xticks(xs, [f"{x:g}" for x in xs])
    ax.minorticks_off()
    ax.margins(x=0.15)
    ax.set_ylim(3, 1.5 * REPORTED)
    figures.band(ax, 3, DELAYED)
    ax.text(0.03, 0.03, "no grokking", color=COLORS.muted, fontsize=8, transform=ax.transAxes)
    ax.axhline(REPORTED, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.text(0.97, 0.83, "reported: 10⁶ steps ÷ 10³", color=COLORS.muted, fontsize=8, ha="right", transform=ax.transAxes)


def _curves(trials: pd.DataFrame, column: str, case: dict[str, Value], *, relative: bool = False) -> list[Curve]:
    """Return steps and values, in per cent, of each run of a case."""
    if trials.empty or column not in trials:
        return []
    chosen = trials[np.logical_and.reduce([trials[name] == value for name, value in case.items()])]
    return [
        (np.asarray(steps), 100 * np.asarray(values) / (values[0] if relative else 1.0))
        for steps, values in zip(chosen["step"], chosen[column], strict=True)
    ]


def _lines(ax: Axes, curves: list[Curve], paint: str, style: str = "-") -> None:
    for steps, values in curves:
        ax.plot(steps, values, style, color=paint, linewidth=0.9)


def _at_the_end(ax: Axes, curves: list[Curve], y: float, text: str, paint: str) -> None:
    if curves:
        _left_label(ax, max(steps[-1] for steps, _ in curves), y, text, paint)


def _left_label(ax: Axes, x: float, y: float, text: str, paint: str) -> None:
    """Write a name to the left of a place."""
    ax.annotate(
        text, xy=(x, y), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", color=paint, fontsize=8
    )
