"""The picture of random and of trained spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BIN = 0.1
MOST_BINS = 400
#: Where random singular values end, in units of σ√N, for a square matrix.
EDGE = 2.0
CLASSES = 10
#: What is in the square layer, and its column, from top to bottom.
PARTS = (
    ("whole, trained", "whole", COLORS.ink),
    ("spikes alone", "spikes", COLORS.accent),
    ("principal inputs", "principal", COLORS.third),
    ("spikes’ inputs, initial", "unlearned", COLORS.third),
    ("whole, initial", "initial", COLORS.third),
    ("random inputs", "random", COLORS.second),
    ("all but the spikes", "rest", COLORS.second),
)
DIRECTIONS = (("spikes", "spikes", COLORS.accent), ("principal inputs", "principal", COLORS.third))
#: Column, entries, variance of the start, colour, label, and how far from its curve's end the label stands.
COURSES = (
    ("spikes", "normal", "glorot", COLORS.accent, "Gaussian", 0.1),
    ("spikes", "uniform", "glorot", COLORS.third, "uniform", 0.9),
    ("spikes", "normal", "he", COLORS.second, "twice the\nvariance", 0.0),
    ("first_layer_spikes", "normal", "glorot", COLORS.muted, "first layer", -0.9),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw one spectrum, the law's approach with size, spikes during training, and what parts of the layer do."""
    figure, axes = figures.new(7.2, 8.0, rows=3, cols=2)
    with figures.style():
        _spectrum(axes[0, 0], trials)
        _distances(axes[0, 1], trials)
        _courses(axes[1, 0], trials)
        _accuracies(axes[1, 1], trials)
        _cross_entropies(axes[2, 0], trials)
        _overlaps(axes[2, 1], trials)
    return figure


def _spectrum(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Trained layer", xlabel="singular value / (σ√N)", ylabel="number of singular values")
    case = {"part": "train", "entries": "normal", "variance": "glorot"}
    trained, shuffled = (per_seed(trials, name, **case) for name in ("trained", "shuffled"))
    if trained.empty:
        return
    values, null = np.asarray(trained.iloc[0]), np.asarray(shuffled.iloc[0])
    spikes = values[len(values) - int(np.asarray(per_seed(trials, "spikes", **case).iloc[0])[-1]) :]
    ax.set_title(f"{len(values)} × {len(values)} layer after training, one network")
    end = max(values.max(), EDGE) + 2 * BIN
    # A training that went astray has values of any size.
    bins = np.linspace(0, end, min(round(end / BIN), MOST_BINS) + 1)
    ax.stairs(np.histogram(values, bins)[0], bins, fill=True, color=COLORS.accent, alpha=0.3)
    ax.stairs(np.histogram(null, bins)[0], bins, color=COLORS.second, linewidth=1.0)
    x = np.linspace(0, EDGE, 200)
    law = len(values) * bins[1] * np.sqrt(EDGE**2 - x**2) / np.pi
    ax.plot(x, law, color=COLORS.ink, linewidth=1.0, linestyle=(0, (4, 2)))
    top = 1.35 * law[0]
    ax.plot(spikes, np.full(len(spikes), 0.07 * top), "v", color=COLORS.accent, markersize=4)
    if len(spikes):
        ax.text(spikes.mean(), 0.13 * top, f"{len(spikes)} spikes", ha="center", color=COLORS.accent, fontsize=8)
    for place, (text, paint) in enumerate(
        (("trained", COLORS.accent), ("entries shuffled", COLORS.second), ("Marchenko–Pastur law", COLORS.ink))
    ):
        ax.text(0.98, 0.95 - 0.09 * place, text, color=paint, fontsize=8, ha="right", va="top", transform=ax.transAxes)
    ax.set(xlim=(0, None), ylim=(0, top))


def _distances(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Distance to Marchenko–Pastur", xlabel="side of the matrix", ylabel="KS distance")
    ax.set_xscale("log")
    ax.set_yscale("log")
    sizes: Any = []
    for entries, label, paint in (
        ("normal", "Gaussian", COLORS.accent),
        ("t3", "Student t, 3 d.o.f.", COLORS.third),
        ("t1.5", "Student t, 1.5 d.o.f.\n(no variance)", COLORS.second),
    ):
        sizes_by_seed, rows = (per_seed(trials, name, part="sizes", entries=entries) for name in ("size", "distance"))
        if rows.empty:
            continue
        sizes = np.asarray(sizes_by_seed.iloc[0])
        middle, low, high = figures.over_seeds(np.stack(rows.to_list()), log=True)
        figures.interval(ax, sizes, middle, low, high, color=paint)
        ax.plot(sizes, middle, color=paint, linewidth=0.9)
        figures.direct_label(ax, sizes[-1], middle[-1], label, paint)
        if entries == "t3":
            ax.plot(sizes, middle[0] * np.sqrt(sizes[0] / sizes), ":", color=COLORS.muted)
    if len(sizes):
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set_xlim(sizes[0] / 1.15, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.75)
    ax.set_yticks([0.003, 0.01, 0.03, 0.1, 0.3], ["0.003", "0.01", "0.03", "0.1", "0.3"])
    ax.minorticks_off()


def _courses(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Spikes during training", xlabel="epochs of training", ylabel="number of spikes")
    ax.set_xscale("symlog", linthresh=1.0)
    epochs: Any = np.array([0, 1])
    for column, entries, variance, paint, label, moved in COURSES:
        case = {"part": "train", "entries": entries, "variance": variance}
        marks, rows = (per_seed(trials, name, **case) for name in ("epoch", column))
        if rows.empty:
            continue
        epochs = np.asarray(marks.iloc[0])
        middle, low, high = figures.over_seeds(np.stack(rows.to_list()))
        ax.plot(epochs, middle, color=paint, linewidth=0.9)
        figures.interval(ax, epochs, middle, low, high, color=paint)
        figures.direct_label(ax, epochs[-1], middle[-1] + moved, label, paint)
    ax.plot([0, epochs[-1]], [CLASSES] * 2, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    ax.text(0.02, CLASSES + 0.2, f"{CLASSES} classes", color=COLORS.muted, fontsize=8, va="bottom")
    # The last two may stand too close for both to be written.
    ticks = [epoch for epoch in epochs if epoch == epochs[-1] or epoch <= epochs[-1] / 2]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(-0.1, 5.5 * epochs[-1])
    ax.set_ylim(-0.4, max(CLASSES + 1.6, ax.get_ylim()[1]))


def _accuracies(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Accuracy with this in the square layer", xlabel="test accuracy (%)")
    ax.axvline(100 / CLASSES, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    _rows(ax, trials, "accuracy", PARTS, 100.0)
    ax.set_xlim(0, 104)


def _cross_entropies(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Cross-entropy with this in the square layer", xlabel="test cross-entropy (nats)")
    ax.set_xscale("log")
    _rows(ax, trials, "cross_entropy", PARTS, 1.0)
    ax.set_xlim(0.03, 4)
    ax.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    ax.minorticks_off()


def _overlaps(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Input directions and class means", xlabel="share within the class means’ span (%)")
    rows = trials[trials["part"] == "train"] if "part" in trials else trials
    if len(rows) and "width" in rows:
        chance = 100 * CLASSES / float(rows["width"].iloc[0])
        ax.axvline(chance, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    _rows(ax, trials, "overlap", DIRECTIONS, 100.0)
    ax.set_xlim(0, 104)


def _rows(ax: Axes, trials: pd.DataFrame, kind: str, rows: Any, unit: float) -> None:
    """Draw one number per row, the mean of both starts and over seeds, with its interval."""
    for place, (_, name, paint) in enumerate(rows):
        starts = [
            per_seed(trials, f"{kind}_{name}", part="train", entries=entries, variance="glorot")
            for entries in ("normal", "uniform")
        ]
        both = (unit * (starts[0] + starts[1]) / 2).dropna().to_numpy(dtype=float)
        if not len(both):
            continue
        middle, low, high = figures.over_seeds(both)
        if np.isfinite(low):
            ax.plot([low, high], [place, place], color=paint, linewidth=1.3, solid_capstyle="butt")
        ax.plot(middle, place, "o", color=paint)
        left = middle > (50 if unit > 1 else 0.3)
        ax.annotate(
            f"{middle:.1f}" if unit > 1 else f"{middle:.2g}" if middle > 1 else f"{middle:.3f}",
            (np.nanmin([middle, low]) if left else np.nanmax([middle, high]), place),
            (-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=paint,
            fontsize=8,
        )
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
