"""The picture of the perceptron: its bound, its vote, and what it cannot compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.foundations._boolean_functions import THRESHOLD_FUNCTIONS
from deepscope.studies.foundations._digit_pairs import share_flipped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(trials: pd.DataFrame) -> Figure:
    """Draw updates against their bound, test errors over passes, counts of threshold functions, and orders."""
    figure, axes = figures.new(7.2, 5.4, rows=2, cols=2)
    bound, errors, counts, orders = axes.flat
    with figures.style():
        _bound(bound, trials)
        _errors(errors, trials)
        _counts(counts, trials)
        _orders(orders, trials)
    return figure


def _bound(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="Updates until all samples are right", xscale="log", yscale="log", xlabel="bound (R/γ)²", ylabel="updates"
    )
    for part, color, mark, size, alpha in (
        ("separable", COLORS.accent, "o", 1.6, 0.5),
        ("orthogonal", COLORS.second, "s", 4.5, 1.0),
    ):
        found = [per_seed(trials, name, part=part) for name in ("bound", "updates")]
        if found[0].empty:
            continue
        limits, updates = (np.concatenate(list(each)) for each in found)
        places = np.repeat(limits, updates.shape[1])
        ax.plot(places, updates.ravel(), mark, color=color, markersize=size, markeredgewidth=0, alpha=alpha)
        if part == "separable":
            ax.text(0.97, 0.05, "random sets", transform=ax.transAxes, ha="right", color=color, fontsize=8)
        else:
            _label(ax, "orthogonal\nsamples", float(limits.max()), color)
    ends, top = np.array(ax.get_xlim()), ax.get_ylim()[1]
    ax.plot(ends, ends, color=COLORS.ink, linewidth=0.9, scalex=False, scaley=False)
    _label(ax, "the bound", top**0.85, COLORS.ink)


def _label(ax: Axes, text: str, place: float, color: str) -> None:
    """Write to the upper left of a place on the line y = x."""
    ax.annotate(
        text,
        (place, place),
        xytext=(-8, 2),
        textcoords="offset points",
        ha="right",
        va="center",
        color=color,
        fontsize=8,
    )


def _errors(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title=f"Digits, {100 * share_flipped(trials):g} % of the labels wrong",
        xlabel="passes over the training images",
        ylabel="test error",
    )
    for name, color, label, shift in (
        ("last", COLORS.second, "last weights", 0),
        ("voted", COLORS.accent, "vote", 6),
        ("averaged", COLORS.third, "average", -6),
    ):
        rows = per_seed(trials, name, part="flipped")
        if rows.empty:
            continue
        curves = np.stack(list(rows))
        passes = np.arange(1, curves.shape[1] + 1)
        middle, low, high = figures.over_seeds(curves)
        ax.plot(passes, middle, color=color, linestyle="--" if name == "averaged" else "-")
        figures.interval(ax, passes, middle, low, high, color=color)
        ax.annotate(
            label,
            (passes[-1], middle[-1]),
            xytext=(7, shift),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=8,
        )
        ax.set_xticks([each for each in passes if each == 1 or each % 2 == 0])
    ax.set_ylim(bottom=0)
    ax.locator_params(axis="y", nbins=5)


def _counts(ax: Axes, trials: pd.DataFrame) -> None:
    bits = np.arange(1, 5)
    ax.set(title="Functions that a threshold unit computes", yscale="log", xlabel="input bits", ylabel="functions")
    ax.set(xlim=(0.7, 4.7), ylim=(1, 3e5), xticks=bits)
    everything = 2.0 ** (2**bits)
    ax.plot(bits, everything, "x--", color=COLORS.muted, markersize=4)
    ax.text(3.7, 3e4, "all functions", ha="right", color=COLORS.muted, fontsize=8)
    ax.plot(bits, THRESHOLD_FUNCTIONS, "o", color=COLORS.ink, markersize=7, markerfacecolor="none", markeredgewidth=0.8)
    rows = per_seed(trials, "threshold_functions", part="boolean")
    if rows.empty:
        return
    counts = rows.iloc[0]
    ax.plot(bits[: len(counts)], counts, "o-", color=COLORS.accent)
    for place, count in zip(bits, counts, strict=False):
        ax.annotate(
            f"{count:,}",
            (place, count),
            xytext=(5, -9),
            textcoords="offset points",
            color=COLORS.accent,
            fontsize=8,
        )


def _orders(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Least degree of a polynomial with its sign", xlabel="input bits", ylabel="degree")
    for name, color, mark, label, below in (
        ("parity_order", COLORS.accent, "o", "parity", False),
        ("quadratic_order", COLORS.third, "^", "random quadratic, largest", True),
        ("majority_order", COLORS.second, "s", "majority", True),
    ):
        rows = per_seed(trials, name, part="boolean")
        if rows.empty:
            continue
        largest = np.stack(list(rows)).max(axis=0)
        bits = np.arange(1, len(largest) + 1)
        ax.plot(bits, largest, mark, color=color, linestyle="-", linewidth=0.8)
        ax.annotate(
            label,
            (bits[-1], largest[-1]),
            xytext=(0, -9 if below else 7),
            textcoords="offset points",
            ha="right",
            va="center",
            color=color,
            fontsize=8,
        )
        ax.set(xticks=bits, yticks=bits, ylim=(0, len(bits) + 0.9))
