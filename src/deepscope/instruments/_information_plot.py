"""The picture of what layers hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._information_layer import LayerInformation
    from deepscope.instruments._information_reading import Information

#: Estimators, what they are called in the picture, and how far beside the layer's place their points stand.
_SERIES = (("binned", "bins", -0.16), ("ksg", "neighbours", 0.0), ("renyi", "Rényi", 0.16))


def plot_information(reading: Information) -> Figure:
    """Draw I(T; Y) and I(X; T) by layer, each estimate over its null, and below them the local rank."""
    figure, (above, middle, below) = figures.new(
        7.2, 7.0, rows=3, height_ratios=[1.3, 1.3, 1.0], sharex=True, squeeze=True
    )
    with figures.style():
        figures.layer_axis(below, [layer.name for layer in reading.layers])
        _estimates(above, reading, "labels", reading.labels_status)
        above.set_ylabel("about labels\nbits")
        above.set_title("points: estimates with 95 % interval; short lines: what chance exceeds once in twenty times")
        if reading.labels_entropy is not None:
            _level(above, reading, reading.labels_entropy, f"all of the labels: {reading.labels_entropy:.3g} bits")
        _estimates(middle, reading, "inputs", reading.inputs_status)
        middle.set_ylabel("about inputs\nbits")
        if any(each.inputs_binned is not None for each in reading.layers):
            most = math.log2(reading.n_samples)
            _level(middle, reading, most, f"the most that {reading.n_samples:,} samples can show: {most:.3g} bits")
        _ranks(below, reading)
    return figure


def _estimates(ax: Axes, reading: Information, of: str, status: str) -> None:
    colors = (figures.COLORS.second, figures.COLORS.accent, figures.COLORS.third)
    heights: list[tuple[float, float, str, str]] = []
    for (estimator, label, shift), color in zip(_SERIES, colors, strict=True):
        seen = [
            (x + shift, found)
            for x, layer in enumerate(reading.layers)
            if (found := layer.estimates(of).get(estimator)) is not None
        ]
        if not seen:
            continue
        x = np.array([place for place, _ in seen])
        bits, low, high, null = (
            np.array([getattr(found, part) for _, found in seen]) for part in ("bits", "low", "high", "null_high")
        )
        figures.interval(ax, x, bits, low, high, label=label, color=color)
        # A short line for each null, all in one path.
        gap = np.full(len(x), np.nan)
        across = np.column_stack([x - 0.09, x + 0.09, gap]).ravel()
        ax.plot(across, np.column_stack([null, null, gap]).ravel(), color=color, linewidth=1.0, alpha=0.55)
        full = all(found.status.startswith("saturated") for _, found in seen)
        heights.append((float(x[-1]), float(bits[-1]), f"{label}, saturated" if full else label, color))
    if not heights:
        why = status if status != "ok" else _why(reading.layers)
        ax.set_yticks([])
        ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=figures.COLORS.muted)
        return
    ax.margins(y=0.12)
    _names(ax, heights)


def _names(ax: Axes, heights: list[tuple[float, float, str, str]]) -> None:
    """Name each series beside its last point, one under the other where points are close."""
    bottom, top = ax.get_ylim()
    line = 0.1 * (top - bottom)
    right = max(x for x, *_ in heights)
    level = math.inf
    for _, height, label, color in sorted(heights, key=lambda each: -each[1]):
        level = min(height, level - line)
        figures.direct_label(ax, right, level, label, color)


def _level(ax: Axes, reading: Information, height: float, label: str) -> None:
    # Not through the names beside the last layer.
    ends = [-0.5, len(reading.layers) - 0.8]
    ax.plot(ends, [height] * 2, color=figures.COLORS.muted, linewidth=0.9, linestyle=(0, (2, 1.5)))
    ax.annotate(
        label,
        xy=(0, height),
        xycoords=("axes fraction", "data"),
        xytext=(3, 2),
        textcoords="offset points",
        va="bottom",
        color=figures.COLORS.muted,
        fontsize=8,
    )


def _why(layers: tuple[LayerInformation, ...]) -> str:
    return layers[0].status if layers else "no layer puts out a row for each sample"


def _ranks(ax: Axes, reading: Information) -> None:
    ax.set_ylabel("local rank\n(directions kept)")
    seen = [(x, each) for x, each in enumerate(reading.layers) if each.local_rank is not None]
    if not seen:
        ax.set_yticks([])
        why = reading.rank_status
        ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=figures.COLORS.muted)
        return
    x = [place for place, _ in seen]
    middle, low, high = (
        np.array([getattr(each, name) for _, each in seen], dtype=float)
        for name in ("local_rank", "local_rank_low", "local_rank_high")
    )
    figures.interval(ax, x, middle, low, high)
    ax.set_ylim(0, None)
