"""The picture of what sums, means, maxima and pairs of nodes tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.graphs._atlas_trials import ROUNDING
from deepscope.studies.graphs._graph_stacks import HARD

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: From the strongest to the weakest: how each is called in the picture, with its colour.
_TELLERS = {
    "2-FWL": ("2-FWL", COLORS.ink),
    "pairs": ("network on pairs", COLORS.third),
    "1-WL": ("1-WL", COLORS.ink),
    "tanh": ("sum, tanh", COLORS.accent),
    "SiLU": ("sum, SiLU", COLORS.accent),
    "sin": ("sum, sin", COLORS.accent),
    "ReLU": ("sum, ReLU", COLORS.accent),
    "ReLU, no biases": ("sum, ReLU without biases", COLORS.accent),
    "GCN": ("GCN", COLORS.muted),
    "GraphSAGE, mean": ("GraphSAGE, mean", COLORS.muted),
    "GraphSAGE, maximum": ("GraphSAGE, maximum", COLORS.muted),
    "mean": ("mean, tanh", COLORS.second),
    "maximum": ("maximum, tanh", COLORS.second),
}
_COLUMNS = {"tanh": "sum", "mean": "mean", "maximum": "max", "1-WL": "1-WL", "pairs": "pairs", "2-FWL": "2-FWL"}
_NEIGHBOURHOODS = ("{a, b}, {a, a, b, b}", "{a, b}, {a, a, b}")
_CURVES = {"sum": ("-", COLORS.accent, 0.0), "mean": ("-", COLORS.second, 0.02), "maximum": (":", COLORS.second, -0.02)}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the pairs that are confounded, the least differences, who tells which hard pair apart, and learning."""
    figure, axes = figures.new(7.2, 6.0, rows=2, cols=2, width_ratios=[1.15, 1])
    (confounded, least), (hard, learning) = axes
    with figures.style():
        _draw_confounded(confounded, trials)
        _draw_differences(least, trials)
        _draw_hard(hard, trials)
        _draw_learning(learning, trials)
    return figure


def _draw_confounded(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Pairs of small graphs not told apart", xlabel="pairs, of 783,126", xscale="symlog", xlim=(-0.7, 3e7))
    ax.set_yticks(range(len(_TELLERS)), [name for name, _ in _TELLERS.values()])
    ax.set_xticks([0, 10, 1e3, 1e5], ["0", "10", "1,000", "100,000"])
    ax.minorticks_off()
    ax.invert_yaxis()
    for place, (teller, (_, color)) in enumerate(_TELLERS.items()):
        counts = per_seed(trials, "confounded", part="atlas", teller=teller)
        if counts.empty:
            continue
        ax.plot(counts, np.full(len(counts), place), "o", color=color, markersize=4)
        most = int(counts.max())
        text = f"{most:,}" if counts.min() == most else f"{int(counts.min()):,}–{most:,}"
        figures.direct_label(ax, most, place, text, color)


def _draw_differences(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Differences of read-outs", xlabel="relative difference", xscale="log", xlim=(1e-18, 20))
    tellers = ("tanh", "SiLU", "sin", "pairs", "mean", "maximum")
    ax.set_yticks(range(len(tellers)), [_TELLERS[each][0] for each in tellers])
    ax.set_ylim(len(tellers) - 0.4, -1.1)
    ax.axvline(ROUNDING, linestyle="--", color=COLORS.muted, linewidth=0.9)
    for place, teller in enumerate(tellers):
        color = _TELLERS[teller][1]
        for column, fill in (("most", COLORS.paper), ("least", color)):
            values = per_seed(trials, column, part="atlas", teller=teller)
            values = values[values > 0]
            ax.plot(values, np.full(len(values), place), "o", color=color, markerfacecolor=fill, markersize=3.5)
    for at, side, text in ((4e-13, "right", "rounding"), (3e-12, "left", "least")):
        ax.text(at, -0.65, text, fontsize=8, color=COLORS.muted, ha=side)


def _draw_hard(ax: Axes, trials: pd.DataFrame) -> None:
    rows = [*HARD, *_NEIGHBOURHOODS]
    ax.set(title="Hard pairs: told apart (full) or not", xlim=(-0.6, len(_COLUMNS) - 0.4), ylim=(len(rows) - 0.5, -0.6))
    ax.set_xticks(range(len(_COLUMNS)), list(_COLUMNS.values()))
    ax.set_yticks(range(len(rows)), rows)
    ax.axhline(len(HARD) - 0.5, color=COLORS.muted, linewidth=0.6)
    ax.grid(visible=False)
    for column, teller in enumerate(_COLUMNS):
        color = _TELLERS[teller][1]
        for part, name, start in (("atlas", teller, 0), ("neighbourhoods", _COLUMNS[teller], len(HARD))):
            found = per_seed(trials, "hard", part=part, teller={"max": "maximum"}.get(name, name))
            if found.empty:
                continue
            # Told apart by all draws, or by none, as far as was measured.
            told = np.stack(list(found)).min(0) > ROUNDING
            for row, full in enumerate(told, start=start):
                ax.plot(column, row, "o", color=color, markerfacecolor=color if full else COLORS.paper, markersize=6)


def _draw_learning(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Learning random labels of graphs", xlabel="training steps", ylabel="labels right, at best so far")
    ax.set_ylim(0.3, 1.05)
    ax.set_yticks([0.4, 0.6, 0.8, 1.0], ["40 %", "60 %", "80 %", "100 %"])
    for teller, (line, color, shift) in _CURVES.items():
        curves = per_seed(trials, "curve", part="labels", teller=teller)
        if curves.empty:
            continue
        steps: Any = np.linspace(
            0, per_seed(trials, "steps", part="labels", teller=teller).iloc[0], len(curves.iloc[0])
        )
        middle, low, high = figures.over_seeds(np.maximum.accumulate(np.stack(list(curves)), 1))
        ax.plot(steps, middle, line, color=color)
        ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        figures.direct_label(ax, steps[-1], middle[-1] + shift, teller, color)
