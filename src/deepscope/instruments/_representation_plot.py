"""The picture of a network's representations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.instruments._log_axis import on_log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._representation_reading import Representation


def plot_representation(found: Representation) -> Figure:
    """Draw alignments between layers; below, along the layers, dimensions and the probe."""
    probed = any(each.probe_low is not None for each in found.layers)
    heights = [2.0, 1.0, 1.0] if probed else [2.0, 1.0]
    figure, axes = figures.new(7.2, 6.6 if probed else 5.2, rows=len(heights), height_ratios=heights, sharex=True)
    with figures.style():
        figures.layer_axis(axes[-1], [layer.name for layer in found.layers])
        _alignments(axes[0], found)
        _dimensions(axes[1], found)
        if probed:
            _probe(axes[2], found)
    return figure


def _alignments(ax: Axes, found: Representation) -> None:
    theirs = found.other_layers or found.names
    ax.set_ylabel(f"layer of {found.other}" if found.other is not None else "layer", parse_math=False)
    if found.cka.size:
        figures.matrix(ax, found.cka.T, theirs, "how alike (CKA)", 0, 1)
    else:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "too few samples to compare layers", ha="center", transform=ax.transAxes)


def _dimensions(ax: Axes, found: Representation) -> None:
    ax.set_yscale("log")
    ax.set_ylabel("dimensions")
    for column, words, place, color in (
        ("intrinsic_dimension", "intrinsic dimension", 0.01, figures.COLORS.accent),
        ("effective_rank", "effective rank", 0.32, figures.COLORS.second),
    ):
        rows = [
            (x, getattr(each, column), getattr(each, f"{column}_low"), getattr(each, f"{column}_high"))
            for x, each in enumerate(found.layers)
            if getattr(each, column) is not None
        ]
        if rows:
            x, y, low, high = np.array(rows, dtype=float).T
            y, low, high = (np.vectorize(on_log_axis)(each) for each in (y, low, high))
            figures.interval(ax, x, y, low, high, label=words, color=color)
            ax.text(place, 1.0, f"• {words}", va="bottom", transform=ax.transAxes, fontsize=8, color=color)
    ax.margins(y=0.2)


def _probe(ax: Axes, found: Representation) -> None:
    classes = found.n_classes is not None
    ax.set_ylabel("linear probe,\naccuracy" if classes else "linear probe,\nR²")
    rows = [
        (x, each.probe_accuracy if classes else each.probe_r2, each.probe_low, each.probe_high, each.probe_null_high)
        for x, each in enumerate(found.layers)
        if each.probe_low is not None
    ]
    x, y, low, high, null = np.array(rows, dtype=float).T
    figures.interval(ax, x, y, low, high)
    color = figures.COLORS.muted
    ax.plot(x, null, color=color, linewidth=0.9, linestyle=(0, (2, 1.5)))
    words = "labels in random order, one of twenty"
    ax.annotate(words, (x[0], null[0]), (4, 4), textcoords="offset points", fontsize=8, color=color)
    ax.set_ylim(min(-0.02, float(low.min())) if not classes else 0, 1.04)
