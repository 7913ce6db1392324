"""The picture of grokking: two accuracies over training, and what the steps to learn them depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.core import Value
from deepscope.figures import COLORS
from deepscope.studies.learning_dynamics._grokking_delay import DELAYED, MAIN, REPORTED, learning_steps, sweep
from deepscope.studies.learning_dynamics._modular_arithmetic import OPERATIONS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[NDArray[Any], NDArray[Any]]
Named = tuple[list[Curve], str, str]
#: Height of a name, in per cent of the axis.
_LINE = 8.0
_PAINTS = {"fitted": COLORS.accent, "learned": COLORS.second}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracies, weights and embedding over training at the left, steps to learn the pairs at the right."""
    known = [each for each in OPERATIONS if not trials.empty and (trials["operation"] == each).any()]
    main: dict[str, Value] = {"operation": known[0] if known else OPERATIONS[0], **MAIN}
    figure, axes = figures.new(7.2, 5.2, rows=2, cols=2, width_ratios=[1.3, 1], height_ratios=[1, 1])
    (accuracy, by_fraction), (inside, by_decay) = axes
    with figures.style():
        _accuracies(accuracy, trials, main)
        _inside(inside, trials, main)
        inside.set_xlim(accuracy.get_xlim())
        shares = {each: sweep(trials, each, "fraction") for each in known}
        _steps_over(by_fraction, shares)
        _name_points(by_fraction, shares)
        by_fraction.set(title="steps to 99 % accuracy", xlabel="share of the table that is trained on")
        by_decay.set(title="steps to 99 % accuracy")
        _over_decay(by_decay, trials, known)
    return figure


def _accuracies(ax: Axes, trials: pd.DataFrame, main: dict[str, Value]) -> None:
    at = {column: _curves(trials, f"{column}_accuracy", main) for column in ("train", "validation")}
    undecayed = _curves(trials, "validation_accuracy", {**main, "weight_decay": 0.0})
    random = _curves(trials, "validation_accuracy", {**main, "labels": "random"})
    rising: list[Named] = [
        (at["train"], "training", COLORS.accent),
        (at["validation"], "validation", COLORS.second),
    ]
    ends: list[Named] = [(undecayed, "no decay", COLORS.third), (random, "random labels", COLORS.muted)]
    ax.set_ylim(-4, 104)
    for curves, _, paint in (*ends, *rising):
        _lines(ax, curves, paint, ":" if curves is random else "-")
    for curves, text, paint in rising:
        steps = [step[values >= 60][0] for step, values in curves if values.max() >= 60]
        if steps:
            _name(ax, min(steps), 60, text, paint, right=False)
        else:
            ends.append((curves, text, paint))
    _names_at_ends(ax, ends)
    ax.set_ylabel("accuracy, %")
    ax.set_title(f"{main['operation']} modulo a prime, a line per seed", parse_math=False)


def _inside(ax: Axes, trials: pd.DataFrame, main: dict[str, Value]) -> None:
    norm, frequencies = (_curves(trials, column, main, relative=True) for column in ("weight_norm", "frequencies"))
    ax.set_ylim(0, 1.08 * max([100.0, *(float(values.max()) for _, values in (*norm, *frequencies))]))
    _lines(ax, frequencies, COLORS.third)
    _lines(ax, norm, COLORS.accent)
    _names_at_ends(ax, [(norm, "norm", COLORS.accent), (frequencies, "frequencies", COLORS.third)])
    ax.set_title("norm of the weights; frequencies in the embedding")
    ax.set_ylabel("% of the start")
    ax.set_xlabel("training step")


def _steps_over(ax: Axes, sweeps: dict[str, dict[float, pd.DataFrame]]) -> None:
    """Draw mean steps with their intervals, of a second operation hollow; lower bounds as open triangles."""
    ax.set_yscale("log")
    for hollow, points in enumerate(sweeps.values()):
        for column, paint in _PAINTS.items():
            _means(ax, points, column, paint, hollow=bool(hollow))
    every = [point for points in sweeps.values() for point in points.values()]
    fitted = _geometric_mean(np.concatenate([point["fitted"] for point in every])) if every else np.nan
    if np.isfinite(fitted):
        figures.band(ax, fitted, DELAYED * fitted)
        beside = {"ha": "right", "va": "center", "color": COLORS.muted, "fontsize": 8}
        text = f"less than {DELAYED:g} × training"
        ax.text(0.98, fitted * DELAYED**0.5, text, beside, transform=ax.get_yaxis_transform())
    xs = sorted({x for points in sweeps.values() for x in points})
    ax.set_xticks(xs, [f"{x:g}" for x in xs])
    ax.minorticks_off()
    ax.margins(x=0.15, y=0.12)


def _name_points(ax: Axes, sweeps: dict[str, dict[float, pd.DataFrame]]) -> None:
    """Name the pairs at the left end, and the operations at the right one where there are several."""
    for place, (operation, points) in enumerate(sweeps.items()):
        xs = list(points)
        for column, text in (("learned", "validation"), ("fitted", "training")):
            if xs and not place:
                _name(ax, xs[0], _geometric_mean(points[xs[0]][column]), text, _PAINTS[column])
        if xs and len(sweeps) > 1:
            _name(ax, xs[-1], _geometric_mean(points[xs[-1]]["learned"]), operation, COLORS.second)


def _means(ax: Axes, points: dict[float, pd.DataFrame], column: str, paint: str, *, hollow: bool) -> None:
    for x, point in points.items():
        steps = point[column].dropna().to_numpy(dtype=float)
        if not len(steps):
            continue
        mean, low, high = figures.over_seeds(steps, log=True)
        if column == "learned" and point["censored"].any():
            ax.plot(x, mean, "^", color=paint, markersize=6, markerfacecolor="none")
            continue
        figures.interval(ax, x, mean, low, high, color=paint)
        if hollow:
            ax.plot(x, mean, ".", color=COLORS.paper, markersize=3, zorder=4)


def _over_decay(ax: Axes, trials: pd.DataFrame, known: Sequence[str]) -> None:
    """Draw the steps over the weight decay, and at its left end those without, beside what is reported of them."""
    sweeps = {each: sweep(trials, each, "weight_decay") for each in known}
    least = min((x for points in sweeps.values() for x in points), default=0.25)
    zero = least / 4
    for operation, points in sweeps.items():
        undecayed = learning_steps(trials, **{"operation": operation, **MAIN, "weight_decay": 0.0})
        sweeps[operation] = {zero: undecayed, **points}
    ax.set_xscale("log")
    _steps_over(ax, sweeps)
    ticks = sorted({zero, *(x for points in sweeps.values() for x in points)})
    ax.set_xticks(ticks, ["none", *(f"{x:g}" for x in ticks[1:])])
    ax.minorticks_off()
    ax.plot([zero, zero], REPORTED, "D", color=COLORS.muted, markersize=4, markerfacecolor="none")
    ax.set_ylim(top=3 * REPORTED[1])
    figures.direct_label(ax, zero, REPORTED[1], "reported: a / b mod 97", COLORS.muted)
    ax.set_xlabel("weight decay")


def _geometric_mean(values: Any) -> float:
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return float(np.exp(np.log(known).mean())) if len(known) else float("nan")


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


def _names_at_ends(ax: Axes, named: Sequence[Named]) -> None:
    """Write names to the right of where their curves end, one above the other where they end alike."""
    ax.set_xscale("log")
    ends = [
        (float(np.mean([values[-1] for _, values in curves])), max(steps[-1] for steps, _ in curves), text, paint)
        for curves, text, paint in named
        if curves
    ]
    bottom, top = ax.get_ylim()
    line, place = _LINE * (top - bottom) / 100, -np.inf
    for y, x, text, paint in sorted(ends):
        place = max(y, place + line)
        _name(ax, x, place, text, paint)
    if ax.lines:
        # Room for the names.
        ax.set_xlim(1, 30 * max(float(np.max(line_.get_xdata())) for line_ in ax.lines))


def _name(ax: Axes, x: float, y: float, text: str, paint: str, *, right: bool = True) -> None:
    if right:
        figures.direct_label(ax, x, y, text, paint)
        return
    ax.annotate(
        text, xy=(x, y), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", color=paint, fontsize=8
    )
