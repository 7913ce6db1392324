"""The picture of the transfer: losses over rates at several widths, best rates, and how far outputs move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Arm, its colour, style of line and name.
SERIES: tuple[tuple[str, str, Any, str], ...] = (
    ("standard", COLORS.second, "-", "standard"),
    ("mup", COLORS.accent, "-", "µP"),
    ("hidden as standard", COLORS.third, "-", "hidden layers\nas standard"),
    ("output as standard", COLORS.muted, (0, (4, 2)), "output\nas standard"),
)

#: Range of the losses: those of networks that have learnt, up to those that have diverged.
LOSSES = (0.01, 20.0)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw losses over rates (top), best rates over widths and the change of the output over widths (bottom)."""
    columns = ["measure", "arm", "width", "seed", "losses", "log2_rates", "optimum", "widths", "output_change"]
    trials = trials.reindex(columns=trials.columns.union(columns, sort=False))
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        axes[0, 1].sharey(axes[0, 0])
        _draw_losses(axes[0, 0], trials, "standard", "Standard parametrisation")
        _draw_losses(axes[0, 1], trials, "mup", "Maximal-update parametrisation (µP)")
        _draw_optima(axes[1, 0], trials)
        _draw_changes(axes[1, 1], trials)
    return figure


def _draw_losses(ax: Axes, trials: pd.DataFrame, arm: str, title: str) -> None:
    ax.set(title=title, xlabel="learning rate of the base", ylabel="training loss (nats)", yscale="log")
    chosen = trials[(trials["measure"] == "rates") & (trials["arm"] == arm)]
    widths = sorted({int(width) for width in chosen["width"]})
    for number, width in enumerate(widths):
        rows = chosen[chosen["width"] == width]
        logs, values = np.array(rows["log2_rates"].iloc[0]), np.array([*rows["losses"]], dtype=float)
        middle, low, high = figures.over_seeds(values, log=True)
        strength = 0.35 + 0.65 * (number + 1) / len(widths)
        ax.fill_between(logs, low, high, color=COLORS.accent, alpha=0.12 * strength, linewidth=0)
        ax.plot(logs, middle, color=COLORS.accent, alpha=strength, linewidth=0.8 + 0.5 * number)
        least = int(np.nanargmin(middle))
        ax.plot(logs[least], middle[least], "o", color=COLORS.accent, alpha=strength, markersize=5)
        # The narrowest above its curve, the widest below, others beside: points may lie close.
        x, y, side, edge = {0: (0, 7, "center", "bottom"), len(widths) - 1: (0, -7, "center", "top")}.get(
            number, (9, 0, "left", "center")
        )
        ax.annotate(
            str(width),
            (logs[least], middle[least]),
            (x, y),
            textcoords="offset points",
            fontsize=8,
            ha=side,
            va=edge,
        )
    ax.set_ylim(LOSSES)
    _rate_axis(ax.xaxis, ax.get_xlim(), 2)
    ax.minorticks_off()


def _draw_optima(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Best learning rate", xlabel="width", ylabel="learning rate of the base")
    _over_width(ax, trials, "rates", lambda rows: rows[["width", "optimum"]].dropna().itertuples(index=False))
    _rate_axis(ax.yaxis, ax.get_ylim(), 1)


def _draw_changes(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Change of the output in ten steps", xlabel="width", ylabel="root mean square (logits)", yscale="log")

    def pairs(rows: pd.DataFrame) -> Any:
        for widths, changes in zip(rows["widths"], rows["output_change"], strict=True):
            yield from zip(widths, changes, strict=True)

    _over_width(ax, trials, "coordinates", pairs, log=True)
    low, high = ax.get_ylim()
    ticks = [each for each in (0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= each <= high]
    ax.set_yticks(ticks, [f"{each:g}" for each in ticks])
    ax.minorticks_off()


def _over_width(ax: Axes, trials: pd.DataFrame, measure: str, pairs: Any, *, log: bool = False) -> None:
    """Draw means over seeds with their intervals against the width, an arm a colour."""
    ax.set_xscale("log", base=2)
    seen: set[int] = set()
    for arm, color, line, label in SERIES:
        values: dict[int, list[float]] = {}
        for width, value in pairs(trials[(trials["measure"] == measure) & (trials["arm"] == arm)]):
            values.setdefault(int(width), []).append(float(value))
        if not values:
            continue
        widths = sorted(values)
        middle, low, high = np.transpose([figures.over_seeds(values[width], log=log) for width in widths])
        figures.interval(ax, widths, middle, low, high, color=color)
        ax.plot(widths, middle, color=color, linestyle=line, linewidth=1.0)
        figures.direct_label(ax, widths[-1], middle[-1], label, color)
        seen.update(widths)
    ticks = sorted(seen)
    ax.set_xticks(ticks, [str(width) for width in ticks])
    if ticks:
        # Room for the names at the right.
        ax.set_xlim(ticks[0] * 0.85, ticks[-1] * 3.2)
    ax.minorticks_off()


def _rate_axis(axis: Any, limits: tuple[float, float], every: int) -> None:
    powers = range(int(np.ceil(limits[0])), int(np.floor(limits[1])) + 1, every)
    axis.set_ticks(list(powers), [f"2{str(power).translate(_SUPERSCRIPT)}" for power in powers])


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
