"""The picture of deep linear learning: modes, their times, the splits of a tree, and depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.learning_dynamics._depth import FEWEST_LAYERS
from deepscope.studies.learning_dynamics._mode_dynamics import half_time, mode_strength

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = (("broad", COLORS.accent), ("middle", COLORS.second), ("fine", COLORS.third))


def draw(trials: pd.DataFrame) -> Figure:
    """Draw one network's modes, all half-times, the tree's splits, and the steps against depth."""
    trials = trials.reindex(columns=trials.columns.union(["task", "start", "layers"], sort=False))
    figure, ((modes, times), (tree, depth)) = figures.new(7.2, 5.4, rows=2, cols=2)
    with figures.style():
        modes.set(title="One mode after another", xlabel="time, in units of τ", ylabel="strength of a mode, part of s")
        _draw_modes(modes, trials)
        times.set(
            title="Strong modes first",
            xlabel="singular value s of the mode",
            ylabel="half learnt after, in units of τ",
        )
        _draw_half_times(times, trials)
        tree.set(
            title="Broad splits of a tree first", xlabel="time, in units of τ", ylabel="part of a split that is learnt"
        )
        _draw_tree(tree, trials)
        depth.set(title="The cost of depth", xlabel="layers", ylabel="steps, at the best learning rate")
        _draw_depth(depth, trials)
    return figure


def _draw_modes(ax: Axes, trials: pd.DataFrame) -> None:
    chosen = trials[(trials["task"] == "modes") & (trials["start"] == "small") & (trials["layers"] == 2)]
    ax.set(xlim=(0, 30), ylim=(-0.03, 1.12))
    if chosen.empty:
        return
    first = chosen.sort_values("seed").iloc[0]
    colors = (COLORS.accent, COLORS.second, COLORS.third, COLORS.muted)
    place = -math.inf
    for mode, color in enumerate(colors):
        s, start = first.singular_value[0, mode], first.initial_strength[0, mode]
        ax.plot(first.time, first.ratio[:, mode], color=color, linewidth=2.4, alpha=0.45)
        ax.plot(first.time, mode_strength(first.time, s, start) / s, color=color, linewidth=1.1, linestyle=(0, (3, 2)))
        # Names stand above their curves, as far apart as they are wide.
        place = max(float(half_time(s, start)), place + 3.0)
        ax.text(place, 1.04, f"{s:.2f}", color=color, fontsize=8, ha="center")
        if mode == 0:
            ax.text(place - 1.7, 1.04, "s =", fontsize=8, ha="right")


def _draw_half_times(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(xscale="log", yscale="log", xlim=(0.19, 1.1), ylim=(0.4, 30))
    ax.set_xticks([0.2, 0.3, 0.5, 1.0], ["0.2", "0.3", "0.5", "1"])
    ax.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    ax.minorticks_off()
    line = np.array([0.2, 1.0])
    for start, layers, label, color in (
        ("proportional", 2, "two layers", COLORS.accent),
        ("small", 1, "one layer", COLORS.second),
    ):
        values, halves = (
            [np.ravel(each) for each in per_seed(trials, column, task="modes", start=start, layers=layers)]
            for column in ("singular_value", "half_time")
        )
        if not values:
            continue
        ax.plot(np.concatenate(values), np.concatenate(halves), "o", color=color, markersize=2.2, alpha=0.6)
        # At the start the strength is 0.001 s; one layer is half learnt after ln 2.
        theory = half_time(line, 1e-3 * line) if layers == 2 else np.full(2, math.log(2))
        ax.plot(line, theory, ":", color=COLORS.ink, linewidth=1.0)
        ax.text(0.45, theory[0] * (0.62 if layers == 2 else 1.2), label, color=color, fontsize=8)


def _draw_tree(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(xlim=(0, 16), ylim=(-0.03, 1.12), xticks=range(0, 17, 4))
    curves = per_seed(trials, "split", task="tree", layers=2)
    if not curves.empty:
        time = per_seed(trials, "time", task="tree", layers=2).iloc[0]
        stacked = np.stack(curves.to_list())
        for level, (name, color) in enumerate(LEVELS):
            middle, low, high = figures.over_seeds(stacked[..., level])
            ax.plot(time, middle, color=color)
            ax.fill_between(time, low, high, color=color, alpha=0.25, linewidth=0)
            at = time[np.argmax(middle >= 0.5)]
            ax.text(at + 0.5, 1.04, name, color=color, fontsize=8, ha="right" if level == 0 else "left")
    together = per_seed(trials, "split", task="tree", layers=1)
    if not together.empty:
        time = per_seed(trials, "time", task="tree", layers=1).iloc[0]
        ax.plot(time, np.mean(np.stack(together.to_list()), axis=(0, 2)), linestyle=(0, (1, 1)), color=COLORS.muted)
        ax.text(2.0, 0.55, "one layer:\nall at\nonce", color=COLORS.muted, fontsize=8)


def _draw_depth(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(xscale="log", yscale="log")
    depths: set[int] = set()
    for start, label, color, above in (
        ("orthogonal", "orthogonal", COLORS.accent, 1.55),
        ("gaussian", "Gaussian", COLORS.second, 0.65),
    ):
        chosen = trials[(trials["task"] == "depth") & (trials["start"] == start)]
        chosen = chosen.reindex(columns=["layers", "steps"]).dropna()
        if chosen.empty:
            continue
        layers = sorted({int(each) for each in chosen["layers"]})
        steps = [chosen.loc[chosen["layers"] == each, "steps"] for each in layers]
        middle, low, high = np.transpose([figures.over_seeds(each, log=True) for each in steps])
        figures.interval(ax, layers, middle, low, high, color=color)
        ax.plot(layers, middle, color=color, linewidth=0.8)
        if start == "orthogonal" and FEWEST_LAYERS in layers:
            flat = middle[layers.index(FEWEST_LAYERS)]
            ax.plot([FEWEST_LAYERS, layers[-1]], [flat, flat], ":", color=COLORS.ink, linewidth=1.0)
            ax.text(layers[-1], flat * 0.8, "flat", fontsize=8, ha="right", va="center")
        ax.text(layers[0], middle[0] * above, label, color=color, fontsize=8, va="center")
        depths.update(layers)
    ticks = sorted(depths)
    ax.set_xticks(ticks, [str(each) for each in ticks])
    low, high = ax.get_ylim()
    # Room for what is written below the lowest points.
    ax.set_ylim(bottom=0.8 * low)
    counts = [each for each in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if low <= each <= high]
    ax.set_yticks(counts, [str(each) for each in counts])
    ax.minorticks_off()
