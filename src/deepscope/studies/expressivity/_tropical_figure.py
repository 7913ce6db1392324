"""The picture of linear regions: the formula, the two maxima, and how regions grow with width and depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.expressivity._arrangement import generic_count
from deepscope.studies.expressivity._digit_regions import DEPTHS, FIXED_DEPTH, FIXED_WIDTH, WIDTHS
from deepscope.studies.expressivity._slices import attainable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = (COLORS.second, COLORS.accent, COLORS.third)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the formula's counts, a network as F − G, and regions over width and depth."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    formula, difference, width, depth = axes.flat
    with figures.style():
        _formula(formula, trials)
        _difference(difference, trials)
        _growth(width, trials, "width", WIDTHS, [attainable(each, FIXED_DEPTH, 2) for each in WIDTHS])
        _growth(depth, trials, "depth", DEPTHS, [attainable(FIXED_WIDTH, each, 2) for each in DEPTHS])
        width.set(title=f"Digits, {FIXED_DEPTH} hidden layers", xlabel="units in each layer", ylabel="regions")
        depth.set(title=f"Digits, {FIXED_WIDTH} units in each layer", xlabel="hidden layers", ylabel="regions")
    return figure


def _formula(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="One hidden layer", xlabel="units n", ylabel="linear regions", yscale="log")
    rows = per_seed(trials, "regions", part="generic")
    if rows.empty:
        return
    units = np.arange(1, rows.iloc[0].shape[1] + 1)
    for dimensions, color in enumerate(_COLORS, start=1):
        theory = [generic_count(int(n), dimensions) for n in units]
        ax.plot(units, theory, color=color, linewidth=0.9)
        for counts in rows:
            ax.plot(units, counts[dimensions - 1], "o", color=color)
        label = "1 dimension" if dimensions == 1 else f"{dimensions} dimensions"
        figures.direct_label(ax, units[-1], theory[-1], label, color)
    parallel = per_seed(trials, "regions", part="parallel")
    for row in parallel:
        for count, color in zip(row, _COLORS[1:], strict=True):
            ax.plot(units[-1], count, "x", color=color, markersize=5)
    if not parallel.empty:
        lowest = min(min(row) for row in parallel)
        ax.annotate(
            "parallel",
            (units[-1], lowest),
            xytext=(5, -3),
            textcoords="offset points",
            va="center",
            color=COLORS.muted,
            fontsize=8,
        )
    ax.margins(y=0.12)


def _difference(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="A network of three layers is F − G", xlabel="position along a line", ylabel="value")
    networks = list(per_seed(trials, "network", part="integer"))
    if not networks:
        return
    shown = max(range(len(networks)), key=lambda place: _kinks(networks[place]))
    for name, color, style, label, shift in (
        ("above", COLORS.accent, "-", "F", 5),
        ("below", COLORS.second, "--", "G", -5),
        ("network", COLORS.ink, "-", "network", 0),
    ):
        values = per_seed(trials, name, part="integer").iloc[shown]
        ax.plot(np.linspace(-1, 1, len(values)), values, style, color=color)
        ax.annotate(
            label, (1, values[-1]), (5, shift), textcoords="offset points", va="center", color=color, fontsize=8
        )


def _kinks(values: np.ndarray[Any, Any]) -> int:
    return int((np.abs(np.diff(values, 2)) > 1e-6).sum())


def _growth(ax: Axes, trials: pd.DataFrame, axis: str, sizes: Sequence[int], most: Sequence[int]) -> None:
    """Draw the regions before and after training, and what is attainable."""
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sizes, [str(each) for each in sizes])
    ax.plot(sizes, most, "--", color=COLORS.muted)
    ax.text(
        sizes[-2] * 0.92, most[-2], "attainable\non a plane", ha="right", va="bottom", color=COLORS.muted, fontsize=8
    )
    for place, color in (("plane", COLORS.accent), ("line", COLORS.second)):
        rows = per_seed(trials, f"{place}_by_{axis}", part="slices")
        if not rows.empty:
            _before_and_after(ax, sizes, np.stack(list(rows)), place, color)
    ax.set_xlim(sizes[0] * 0.85, sizes[-1] * 1.15)


def _before_and_after(ax: Axes, sizes: Sequence[int], counts: np.ndarray[Any, Any], place: str, color: str) -> None:
    """Draw [seeds, before and after training, networks]; on the plane, their last points but one are named."""
    places = np.array(sizes[: counts.shape[2]], dtype=float)
    means = [figures.over_seeds(counts[:, row], log=True) for row in range(2)]
    higher = int(means[1][0][-2] > means[0][0][-2])
    for row, (time, line, shift, fill) in enumerate(
        (("untrained", ":", 0.96, COLORS.paper), ("trained", "-", 1.04, color))
    ):
        middle, low, high = means[row]
        at = places * shift
        ax.plot(at, middle, line, color=color)
        figures.interval(ax, at, middle, low, high, color=color, label=f"{place}, {time}")
        ax.plot(at, middle, "o", markersize=4, markerfacecolor=fill, markeredgecolor=color, zorder=5)
        if place == "plane":
            # The curves rise: above them there is room to the left, below them to the right.
            side, aligned = (1, "right") if row == higher else (-1, "left")
            ax.annotate(
                time,
                (at[-2], middle[-2]),
                (-4 * side, 8 * side),
                textcoords="offset points",
                ha=aligned,
                va="center",
                color=color,
                fontsize=8,
            )
    figures.direct_label(ax, places[-1] * 1.06, counts[:, :, -1].mean(), place, color)
