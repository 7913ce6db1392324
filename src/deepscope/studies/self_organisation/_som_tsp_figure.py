"""The figure of the study of tours by a self-organising ring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import FEWEST_SEEDS, interval, per_seed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLAIMED = 10.0
#: Number of cities of the trips that are shown.
SHOWN = 100
#: Layout and neighbourhood, column, label, colour, and factors by which the points and the label are moved apart from
#: others: right, and up.
SERIES = (
    (("random", "none"), "over_upper", "no neighbourhood", "ink", (0.94, 1.4)),
    (("random", "fixed"), "over_upper", "radius 1 throughout", "muted", (1.06, 0.7)),
    (("random", "shrinking"), "nearest_neighbour", "nearest neighbour", "second", (1.0, 1.0)),
    (("random", "shrinking"), "over_lower", "ring", "accent", (1.0, 1.0)),
    (("random", "shrinking"), "gap", "local search", "muted", (1.0, 1.0)),
    (("ellipse", "shrinking"), "over_lower", "ring, cities on an ellipse", "third", (1.0, 1.0)),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw two trips through the same cities, and how much longer trips are than the shortest."""
    figure, (left, middle, right) = figures.new(height=2.8, cols=3, width_ratios=(1, 1, 1.75))
    _trip(left, trials, "shrinking", "shrinking neighbourhood", figures.COLORS.accent)
    _trip(middle, trials, "none", "no neighbourhood", figures.COLORS.ink)
    for case, column, label, color, moved in SERIES:
        _series(right, trials, case, column, (label, getattr(figures.COLORS, color)), moved)
    right.axhline(CLAIMED, color=figures.COLORS.ink, linestyle="--", linewidth=0.8)
    right.text(22, 0.85 * CLAIMED, "claimed", va="top", fontsize=8)
    right.set_xscale("log")
    right.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    right.set_xlim(8, 1500)
    right.set_ylim(-0.2, 2000)
    # 12 stands too close to 10 to be written.
    sizes = sorted(trials["n"].unique()) if "n" in trials else []
    right.set_xticks(sizes, ["" if n == 12 else str(n) for n in sizes])
    right.set_xticks([], minor=True)
    right.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    right.set_xlabel("cities")
    right.set_ylabel("longer than the shortest trip (%)")
    return figure


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


def _series(
    axes: Axes,
    trials: pd.DataFrame,
    case: tuple[str, str],
    column: str,
    look: tuple[str, str],
    moved: tuple[float, float],
) -> None:
    layout, rule = case
    label, color = look
    if "n" not in trials:
        return
    points: list[tuple[Any, ...]] = []
    for n in sorted(trials["n"].unique()):
        values = 100 * per_seed(trials, column, layout=layout, neighbourhood=rule, n=n)
        # Of so few cities the local search is not asked: the shortest trip is known.
        if not values.empty and not (column == "gap" and values.max() == 0):
            ends = interval(values.to_numpy()) if len(values) >= FEWEST_SEEDS else (math.nan, math.nan)
            points.append((n * moved[0], values.mean(), *ends))
    if points:
        x, y, low, high = np.array(points).T
        axes.plot(x, y, color=color, linewidth=0.7)
        figures.interval(axes, x, y, low, high, color=color)
        figures.direct_label(axes, x[-1], y[-1] * moved[1], label, color)
