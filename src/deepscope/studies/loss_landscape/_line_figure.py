"""The picture of losses along straight lines in weight space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import Value, per_seed
from deepscope.figures import COLORS
from deepscope.studies.loss_landscape._line_cases import CONVEX, WIDTHS, trainings
from deepscope.studies.loss_landscape._line_measures import barrier, mean_loss, measured, rise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Column, colour and name of where lines start.
STARTS = (
    ("own", COLORS.accent, "own start"),
    ("unrelated", COLORS.second, "unrelated start"),
    ("other", COLORS.third, "another solution"),
)
SHOWN = "SGD, small rate"
#: Height at which each training stands, from the top; the name of its network stands one above the first.
Rows = list[tuple[int, str, dict[str, Value]]]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the loss along lines above; rises, excess over the own line and barriers of every training below."""
    figure, axes = figures.new(7.2, 7.6, rows=2, cols=2, sharey="row", height_ratios=[1, 1.6])
    with figures.style():
        for ax, depth in zip(axes[0], WIDTHS, strict=True):
            _lines(ax, trials, depth)
        highest = max([1.0, *(float(np.max(line.get_ydata())) for ax in axes[0] for line in ax.lines)])
        # Room for the names above the curves.
        axes[0, 0].set(ylabel="training loss, nats", ylim=(0, 1.35 * highest))
        rows, names = _rows()
        _rises(axes[1, 0], trials, rows)
        _amounts(axes[1, 1], trials, rows)
        axes[1, 0].set_yticks([place for place, *_ in rows], [label for _, label, _ in rows])
        axes[1, 0].set_ylim(rows[-1][0] + 0.7, -0.7)
        for ax in axes[1]:
            ax.grid(visible=False)
            for place in names:
                ax.axhline(place - 0.5, color=COLORS.grid, linewidth=0.6)
        for place, name in names.items():
            axes[1, 0].annotate(
                name,
                (0, place),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                fontweight="bold",
            )
    return figure


def _rows() -> tuple[Rows, dict[int, str]]:
    """Return the trainings with their heights, and the names of the networks with theirs."""
    rows: Rows = [(0, "softmax regression", CONVEX)]
    names = {}
    for depth in WIDTHS:
        for batch_norm in (False, True):
            top = rows[-1][0] + 1
            names[top] = f"{depth} layers" + (", batch norm" if batch_norm else "")
            known = trainings(depth, batch_norm=batch_norm)
            rows += [(top + place, label, case) for place, (label, case) in enumerate(known.items(), start=1)]
    return rows, names


def _lines(ax: Axes, trials: pd.DataFrame, depth: int) -> None:
    """Draw mean losses along the lines from each start."""
    ax.set(title=f"{depth} hidden layers", xlabel="from the start (0) to the solution (1)")
    case = trainings(depth)[SHOWN]
    for place, (column, color, name) in enumerate(STARTS):
        curves = per_seed(trials, column, **case).dropna()
        if curves.empty:
            continue
        means = np.array([np.atleast_2d(lines).mean(axis=0) for lines in curves])
        middle, low, high = figures.over_seeds(means)
        along = np.linspace(0, 1, len(middle))
        ax.fill_between(along, low, high, color=color, alpha=0.25, linewidth=0)
        ax.plot(along, middle, color=color)
        ax.text(0.97, 0.98 - 0.08 * place, name, color=color, fontsize=8, ha="right", va="top", transform=ax.transAxes)


def _rises(ax: Axes, trials: pd.DataFrame, rows: Rows) -> None:
    """Draw the largest rise on the way to the solution, from the own start and from unrelated ones."""
    ax.set(title="Largest rise on the way", xlabel="% of the first loss")
    ax.axvspan(-1, 1, color=COLORS.band, linewidth=0, zorder=0)
    unrelated = {place: 100 * measured(trials, "unrelated", rise, case) for place, _, case in rows}
    own = {place: 100 * measured(trials, "own", rise, case) for place, _, case in rows}
    ends = [_points(ax, unrelated, COLORS.second, 0.15), _points(ax, own, COLORS.accent, -0.15)]
    ax.set_xlim(-0.3, 1.1 * max(2.0, *ends))
    for place, (text, color) in enumerate((("own start", COLORS.accent), ("unrelated start", COLORS.second))):
        _note(ax, place, text, color)


def _amounts(ax: Axes, trials: pd.DataFrame, rows: Rows) -> None:
    """Draw by how much the mean loss from unrelated starts exceeds that from the own one, and barriers."""
    ax.set(title="Excess over the own line; barriers", xlabel="nats")
    ax.axvspan(-0.1, 0.1, color=COLORS.band, linewidth=0, zorder=0)
    excess = {
        place: measured(trials, "unrelated", mean_loss, case) - measured(trials, "own", mean_loss, case)
        for place, _, case in rows
    }
    barriers = {place: measured(trials, "other", barrier, case) for place, _, case in rows}
    ends = [_points(ax, excess, COLORS.second, 0.15), _points(ax, barriers, COLORS.third, -0.15)]
    ax.set_xlim(-0.15, 1.1 * max(1.0, *ends))
    for place, (text, color) in enumerate(
        (("mean loss, unrelated − own", COLORS.second), ("barrier to another solution", COLORS.third))
    ):
        _note(ax, place, text, color)


def _points(ax: Axes, values: Mapping[int, pd.Series[float]], color: str, shift: float) -> float:
    """Draw means over seeds with their 95 % intervals, and return where the last one ends."""
    end = 0.0
    for place, numbers in values.items():
        known = numbers.dropna().to_numpy(dtype=float)
        if not len(known):
            continue
        mean, low, high = figures.over_seeds(known)
        ax.plot([low, high], [place + shift] * 2, color=color, linewidth=1.1, alpha=0.6)
        ax.plot(mean, place + shift, "o", color=color, markeredgewidth=0)
        end = max(end, mean, np.nan_to_num(high))
    return end


def _note(ax: Axes, place: int, text: str, color: str) -> None:
    """Name a colour in the free rows at the top."""
    ax.text(
        0.98,
        0.2 + 0.9 * place,
        text,
        color=color,
        fontsize=8,
        ha="right",
        va="center",
        transform=ax.get_yaxis_transform(),
    )
