"""The figure of the study of tours by a self-organising ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepscope import figures
from deepscope.core import per_seed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLAIMED = 10.0
#: Number of cities of the trips that are shown.
SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class _Series:
    """A number of one kind of trips, by how many cities they have."""

    layout: str
    rule: str
    column: str
    label: str
    color: str
    #: Factor by which points are moved to the right, apart from others.
    moved: float = 1.0
    #: Where the label stands: beside the last point, or before the first; at its height, above, or below.
    before: bool = False
    align: Literal["center", "bottom", "top"] = "center"


SERIES = (
    _Series(layout="random", rule="none", column="over_upper", label="no neighbourhood", color="ink", align="bottom"),
    _Series(
        layout="random", rule="fixed", column="over_upper", label="radius 1", color="muted", moved=1.1, align="top"
    ),
    _Series(layout="random", rule="narrow", column="over_upper", label="radius from 8", color="ink", align="bottom"),
    _Series(layout="random", rule="shrinking", column="nearest_neighbour", label="nearest neighbour", color="second"),
    _Series(
        layout="ellipse",
        rule="shrinking",
        column="nearest_neighbour",
        label="nearest neighbour, ellipse",
        color="third",
        moved=0.95,
        before=True,
        align="bottom",
    ),
    _Series(layout="random", rule="shrinking", column="over_lower", label="ring", color="accent"),
    _Series(layout="random", rule="shrinking", column="gap", label="local search", color="muted"),
    _Series(
        layout="ellipse", rule="shrinking", column="over_lower", label="ring, ellipse", color="third", align="bottom"
    ),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw two trips through the same cities, and how much longer trips are than the shortest."""
    figure, ((left, right), below) = figures.new(6.0, 5.4, rows=2, cols=2, height_ratios=(1, 1.15))
    _trip(left, trials, "shrinking", "shrinking neighbourhood", figures.COLORS.accent)
    _trip(right, trials, "none", "no neighbourhood", figures.COLORS.ink)
    grid = below[0].get_gridspec()
    for axes in below:
        axes.remove()
    with figures.style():
        _excesses(figure.add_subplot(grid[1, :]), trials)
    return figure


def _excesses(axes: Axes, trials: pd.DataFrame) -> None:
    sizes = sorted(trials["n"].unique()) if "n" in trials else [10]
    for each in SERIES:
        _series(axes, trials, each, sizes)
    axes.axhline(CLAIMED, color=figures.COLORS.ink, linestyle="--", linewidth=0.8)
    axes.text(22, 0.85 * CLAIMED, "claimed", va="top", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    # Labels stand to the right of the last points; the axis ends there.
    axes.set_xlim(8.5, 5 * max(sizes))
    axes.spines["bottom"].set_bounds(8.5, 1.1 * max(sizes))
    axes.set_ylim(-0.2, 2000)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.set_xticks([], minor=True)
    axes.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    axes.set_xlabel("cities")
    axes.set_ylabel("longer than the shortest trip (%)")


def _trip(axes: Axes, trials: pd.DataFrame, rule: str, title: str, color: str) -> None:
    """Draw the trip through the first set of cities of the first seed, closed."""
    trips, over = (
        per_seed(trials, column, layout="random", neighbourhood=rule, n=SHOWN) for column in ("example", "example_over")
    )
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_anchor("N")
    if trips.empty:
        return
    stops = np.asarray(trips.iloc[0])
    closed = np.concatenate([stops, stops[:1]])
    axes.plot(*closed.T, color=color, linewidth=0.9)
    axes.plot(*stops.T, "o", color=figures.COLORS.ink, markersize=2.2, markeredgewidth=0)
    with figures.style():
        axes.set_title(f"{title}\n{SHOWN} cities, {100 * over.iloc[0]:+.1f} %")


def _series(axes: Axes, trials: pd.DataFrame, series: _Series, sizes: Sequence[int]) -> None:
    points: list[tuple[Any, ...]] = []
    for n in sizes:
        values = 100 * per_seed(trials, series.column, layout=series.layout, neighbourhood=series.rule, n=n)
        # Of so few cities the local search is not asked: the shortest trip is known.
        if not values.empty and not (series.column == "gap" and values.max() == 0):
            points.append((n * series.moved, *figures.over_seeds(values)))
    if not points:
        return
    x, y, low, high = np.array(points).T
    color = getattr(figures.COLORS, series.color)
    axes.plot(x, y, color=color, linewidth=0.7)
    figures.interval(axes, x, y, low, high, color=color)
    place = 0 if series.before else -1
    figures.direct_label(axes, x[place], y[place], series.label, color)
    label = axes.texts[-1]
    label.set_verticalalignment(series.align)
    if series.before:
        label.set_horizontalalignment("right")
        label.set_position((-5, 0))
