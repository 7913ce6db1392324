"""The curves of a trajectory: a panel per quantity, a line per matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepscope.figures import COLORS, band, interval, layer_axis, new
from deepscope.report._record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: This many lines are named; where there are more, the others are grey.
MOST_NAMED = 12

_PANELS = (
    ("alpha", "tail exponent α"),
    ("n_spikes", "spikes"),
    ("stable_rank", "stable rank"),
    ("relative_change_since_start", "relative change\nsince the first step"),
)
_SERIES = (COLORS.accent, COLORS.second, COLORS.third)
_LONGEST = 28
_ENDS = ("alpha_low", "alpha_high")


def trajectory_figure(record: Record) -> Figure:
    """Draw a trajectory: α with its 95 % intervals, spikes, stable rank and relative change over the steps."""
    rows = record["table"]
    followed: dict[str, list[Record]] = {}
    for row in rows:
        followed.setdefault(row["name"], []).append(row)
    named = _most_changed(rows, list(followed))
    figure, axes = new(height=9.2, rows=len(_PANELS), sharex=True)
    layer_axis(axes[-1], [step["name"] for step in record["steps"]])
    for ax, (key, label) in zip(axes, _PANELS, strict=True):
        ax.set_ylabel(label)
        if key == "alpha":
            band(ax, 2.0, 6.0)
        ax.yaxis.get_major_locator().set_params(integer=key == "n_spikes")
        curves = {name: _curve(own, key) for name, own in followed.items()}
        for name in followed:
            if name not in named:
                ax.plot(*curves[name], color=COLORS.grid, linewidth=0.8, zorder=1)
        for place, name in enumerate(named):
            _named_curve(ax, followed[name], key, curves[name], _SERIES[place % 3], place - (len(named) - 1) / 2)
        _labels(ax, {name: curves[name] for name in named})
    axes[-1].set_xlabel("step")
    return figure


def _most_changed(rows: Sequence[Record], names: Sequence[str]) -> list[str]:
    last = max(row["step"] for row in rows)
    change = {row["name"]: row["relative_change_since_start"] or 0.0 for row in rows if row["step"] == last}
    most = set(sorted(names, key=lambda name: -change.get(name, 0.0))[:MOST_NAMED])
    return [name for name in names if name in most]


def _curve(rows: Sequence[Record], key: str) -> tuple[list[int], list[float]]:
    """Return the steps and the values; a step without a number is a gap."""
    return [row["step"] for row in rows], [math.nan if row[key] is None else float(row[key]) for row in rows]


def _named_curve(
    ax: Axes,
    rows: Sequence[Record],
    key: str,
    curve: tuple[list[int], list[float]],
    color: str,
    off_centre: float,
) -> None:
    steps, values = curve
    if key != "alpha":
        ax.plot(steps, values, color=color, marker="o", zorder=2)
    else:
        # Side by side: intervals of one step would hide each other.
        beside = [step + 0.02 * off_centre for step in steps]
        ax.plot(beside, values, color=color, zorder=2)
        low, high = (_curve(rows, end)[1] for end in _ENDS)
        interval(ax, beside, values, low, high, color=color)


def _labels(ax: Axes, curves: dict[str, tuple[list[int], list[float]]]) -> None:
    """Name each line at its end: names keep a distance from each other, and a thin line leads to each curve."""
    ends = []
    for place, (name, (steps, values)) in enumerate(curves.items()):
        seen = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
        if seen:
            ends.append((seen[-1][1], seen[-1][0], name, _SERIES[place % 3]))
    ends.sort(key=lambda end: end[0])
    spacing = 1 / max(len(ends), 6)
    first = (1 - spacing * (len(ends) - 1)) / 2
    for place, (value, step, name, color) in enumerate(ends):
        ax.annotate(
            name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}",
            xy=(step, value),
            xytext=(1.03, first + spacing * place),
            textcoords="axes fraction",
            va="center",
            color=color,
            fontsize=8,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": COLORS.muted,
                "linewidth": 0.4,
                "shrinkA": 1,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )
