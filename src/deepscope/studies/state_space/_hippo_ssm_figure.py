"""The picture of what linear memories hold, and of networks that read digits at other rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullLocator

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Memories, from the best to the worst, and how they are drawn.
MEMORIES = {
    "legs": ("HiPPO-LegS", COLORS.accent),
    "legt": ("HiPPO-LegT", COLORS.accent),
    "antisymmetric": ("antisymmetric", COLORS.muted),
    "gaussian": ("Gaussian", COLORS.second),
    "identity": ("A = −I", COLORS.third),
}
#: Network, readout, whether Δ is left as it was trained; what is said of them.
NETWORKS = (
    ("s4d", "mean", False, "S4D", COLORS.accent),
    ("lstm", "mean", False, "LSTM, mean", COLORS.third),
    ("lstm", "last", False, "LSTM, last", COLORS.second),
    ("s4d", "mean", True, "S4D, Δ as trained", COLORS.muted),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the error of the projection, what is recalled, by which memory, and accuracy by rate."""
    figure, axes = figures.new(7.2, 6.0, rows=2, cols=2)
    with figures.style():
        _projection(axes[0, 0], trials)
        _recalled(axes[0, 1], trials)
        _memories(axes[1, 0], trials)
        _rates(axes[1, 1], trials)
    return figure


def _projection(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="HiPPO-LegS and the exact projection", xlabel="steps", ylabel="worst error of coefficients, %")
    ax.set(xscale="log", yscale="log")
    ends = []
    for size, color in ((16, COLORS.third), (64, COLORS.accent)):
        rows = per_seed(trials, "errors", part="projection", memory_size=size)
        if rows.empty:
            continue
        lengths = np.asarray(per_seed(trials, "lengths", part="projection", memory_size=size).iloc[0], dtype=float)
        middle, low, high = 100 * figures.over_seeds(np.stack(list(rows)), log=True)
        ax.plot(lengths, middle, color=color)
        figures.interval(ax, lengths, middle, low, high, color=color)
        ax.annotate(
            f"{size} coefficients",
            (lengths[1], middle[1]),
            (4, 6),
            textcoords="offset points",
            color=color,
            fontsize=8,
        )
        ends.append((lengths, middle))
    if not ends:
        return
    lengths = ends[0][0]
    ax.plot(lengths, 0.6 * ends[0][1][0] * lengths[0] / lengths, ":", color=COLORS.ink)
    ax.annotate(
        "dotted: 1/steps",
        (lengths[0], 0.6 * ends[0][1][0]),
        (0, -38),
        textcoords="offset points",
        fontsize=8,
    )
    ax.set_xlim(0.85 * lengths[0], 1.2 * lengths[-1])
    ax.set_xticks(lengths, [f"{each:,.0f}" for each in lengths])
    ax.xaxis.set_minor_locator(NullLocator())
    low, high = 0.3 * ends[0][1][-1], 2 * ends[-1][1][0]
    ax.set_ylim(low, high)
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())


def _recalled(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="A signal, recalled from 64 numbers", xlabel="time", yticks=[])
    ax.grid(visible=False)
    signals = per_seed(trials, "signal", part="memory")
    if signals.empty:
        return
    signal = np.asarray(signals.iloc[0])
    time, height = np.linspace(0, 1, len(signal)), 2.4 * np.abs(signal).max()
    for place, name in enumerate(("legs", "gaussian", "identity")):
        label, color = MEMORIES[name]
        level = -place * height
        ax.plot(time, signal + level, color=COLORS.muted, linewidth=2.6, alpha=0.35)
        ax.plot(time, np.asarray(per_seed(trials, f"recalled_{name}", part="memory").iloc[0]) + level, color=color)
        ax.text(0, level + 0.42 * height, label, color=color, fontsize=8)
    ax.text(1, -2.45 * height, "grey: the signal", color=COLORS.muted, fontsize=8, ha="right")
    ax.set_ylim(-2.55 * height, 0.6 * height)
    ax.set_xticks([0, 1], ["first", "last"])


def _memories(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="How much recall misses", xlabel="error, over the signal", xscale="log")
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x")
    for place, (name, (_, color)) in enumerate(MEMORIES.items()):
        errors = per_seed(trials, name, part="memory").map(np.min).to_numpy(dtype=float)
        if len(errors):
            middle, low, high = figures.over_seeds(errors, log=True)
            ax.plot([low, high], [place, place], color=color, linewidth=1.1, alpha=0.6)
            ax.plot([middle], [place], "o", color=color)
    ax.set_yticks(range(len(MEMORIES)), [label for label, _ in MEMORIES.values()])
    ax.set_ylim(len(MEMORIES) - 0.5, -0.5)


def _rates(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Digits, trained on 28 rows", xlabel="rows at the test", ylabel="% right", ylim=(0, 108))
    ax.set_xscale("log")
    ax.set_xlim(0.44, 5.6)
    ax.set_xticks([0.5, 1, 2], ["14", "28", "56"])
    ax.xaxis.set_minor_locator(NullLocator())
    for network, readout, unscaled, label, color in NETWORKS:
        prefix = "unscaled_" if unscaled else ""
        rows = [
            per_seed(trials, column, part="digits", network=network, readout=readout).dropna().to_numpy(dtype=float)
            for column in (f"{prefix}half", "accuracy", f"{prefix}double")
        ]
        if not all(len(row) for row in rows):
            continue
        middle, low, high = 100 * np.transpose([figures.over_seeds(row) for row in rows])
        ax.plot([0.5, 1, 2], middle, color=color)
        figures.interval(ax, [0.5, 1, 2], middle, low, high, color=color)
        figures.direct_label(ax, 2, middle[-1], label, color)
