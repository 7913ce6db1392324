"""The picture of cosines that depend on what predictions do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.embeddings._interactions import PLANTED
from deepscope.studies.embeddings._rescaled_factors import SPREADS
from deepscope.studies.embeddings._trained_factors import SMALL_STARTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Planted or not, colour, label.
_MATRICES = ((True, COLORS.accent, "planted"), (False, COLORS.second, "digits"))


def draw(trials: pd.DataFrame) -> Figure:
    """Draw pairs before and after rescaling, changes and retrieval by its spread, and trainings."""
    figure, axes = figures.new(7.2, 6.0, rows=2, cols=2)
    pairs, changes, retrieval, trained = axes.flat
    with figures.style():
        _pairs(pairs, trials)
        _by_spread(changes, trials)
        _retrieval(retrieval, trials)
        _trained(trained, trials)
    return figure


def _rows(trials: pd.DataFrame, part: str, planted: bool) -> pd.DataFrame:
    if "part" not in trials or "data" not in trials:
        return trials.iloc[:0]
    return trials[(trials["part"] == part) & ((trials["data"] == PLANTED) == planted)]


def _pairs(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="Two items, same predictions",
        xlabel="cosine, balanced embeddings",
        ylabel="cosine, rescaled by a random D",
        xlim=(-1.05, 1.05),
        ylim=(-1.05, 1.05),
    )
    rows, same = (per_seed(_rows(trials, "rescaled", True), name) for name in ("pairs", "of_one_group"))
    ax.plot([-1, 1], [-1, 1], color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)))
    if rows.empty:
        return
    (before, after), alike = np.asarray(rows.iloc[0]), np.asarray(same.iloc[0], dtype=bool)
    for chosen, color, label, place in (
        (~alike, COLORS.second, "different clusters", 0.14),
        (alike, COLORS.accent, "same cluster", 0.06),
    ):
        ax.plot(before[chosen], after[chosen], "o", color=color, markersize=2, alpha=0.5, markeredgewidth=0)
        ax.text(0.98, place, label, color=color, fontsize=8, ha="right", transform=ax.transAxes)


def _spread_axis(ax: Axes) -> None:
    ax.set_xticks([0, *SPREADS], ["0", *(f"{spread:g}" for spread in SPREADS)])
    ax.set(xlabel="standard deviation of ln D", xlim=(-0.08, 2.9))


def _by_spread(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Change of a pair’s cosine", ylabel="median of pairs")
    _spread_axis(ax)
    curves = []
    for planted, color, label in _MATRICES:
        rows = per_seed(_rows(trials, "rescaled", planted), "median_difference")
        if not rows.empty:
            curves.append((np.stack([[0.0, *each] for each in rows]), color, label))
    _curves(ax, curves)
    ax.set_ylim(0, None)


def _retrieval(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Nearest items of the item’s own group", ylabel="precision (%)", ylim=(0, 104))
    _spread_axis(ax)
    curves = []
    for planted, color, label in _MATRICES:
        part = _rows(trials, "rescaled", planted)
        balanced, after, random = (per_seed(part, name) for name in ("precision", "rescaled_precision", "chance"))
        if after.empty:
            continue
        rows = 100 * np.stack([[first, *rest] for first, rest in zip(balanced, after, strict=True)])
        curves.append((rows, color, label))
        ax.axhline(100 * float(random.mean()), color=color, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    _curves(ax, curves)
    ax.text(0.0, 1, "dashed: chance", color=COLORS.muted, fontsize=8)


def _curves(ax: Axes, curves: list[tuple[Any, str, str]]) -> None:
    """Draw means over seeds against the spread; labels keep apart, the higher curve's above."""
    x = np.array([0.0, *SPREADS])
    ends = [rows[:, -1].mean() for rows, _, _ in curves]
    for (rows, color, label), end in zip(curves, ends, strict=True):
        middle, low, high = figures.over_seeds(rows)
        ax.plot(x, middle, color=color, linewidth=0.9)
        figures.interval(ax, x, middle, low, high, color=color)
        ax.annotate(
            label,
            (x[-1], end),
            (5, 6 if end == max(ends) else -6),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=8,
        )


def _trained(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="Training from two random starts",
        xlabel="size of the entries at the start",
        ylabel="difference of a pair’s cosine",
        xscale="log",
        yscale="log",
    )
    part = _rows(trials, "trained", True)
    last, small, separate = (
        per_seed(part, name) for name in ("descended_product_median", "small_starts", "descended_separate_median")
    )
    if last.empty or separate.empty or "rank" not in part:
        return
    sizes = np.array([*SMALL_STARTS, float(part["rank"].iloc[0]) ** -0.5])
    curves = np.stack([[*rest, end] for rest, end in zip(small, last, strict=True)])
    for x, rows, color, text in (
        (sizes, curves, COLORS.second, "penalty on\nthe product"),
        (sizes[-1:], np.asarray(separate, dtype=float)[:, None], COLORS.accent, "penalty on\neach factor"),
    ):
        # Cosines that are equal to the last bit have no logarithm.
        middle, low, high = figures.over_seeds(np.maximum(rows, np.finfo(float).tiny), log=True)
        ax.plot(x, middle, color=color, linewidth=0.9)
        figures.interval(ax, x, middle, low, high, color=color)
        figures.direct_label(ax, x[-1], middle[-1], text, color)
    ax.set_xticks(sizes, [f"{size:.2g}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlim(sizes[0] / 1.3, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.6)
