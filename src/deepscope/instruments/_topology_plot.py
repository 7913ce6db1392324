"""The picture of the classes' topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._topology_clouds import Estimate, Floats
    from deepscope.instruments._topology_reading import Topology

_NOUNS = ("gaps", "loops", "voids")
_COLORS = (figures.COLORS.accent, figures.COLORS.second, figures.COLORS.muted)
#: Signs of the same kind that stand side by side; more are written as a number.
_SIGNS = 3
#: More classes than these are not drawn one by one.
_ROWS = 20


def plot_topology(topology: Topology) -> Figure:
    """Draw bars of classes over those of random clouds, total persistence, and the Betti numbers of each class."""
    compared = bool(topology.separation)
    rows = min(len(topology.classes), _ROWS)
    heights = [*([1.9] if compared else []), 1.6, 0.5 + 0.17 * rows]
    figure, axes = figures.new(7.2, sum(heights), rows=len(heights), height_ratios=heights, sharex=True, squeeze=False)
    with figures.style():
        above, below = axes[:-1, 0], axes[-1, 0]
        figures.layer_axis(below, [layer.name for layer in topology.layers])
        if compared:
            _over_groups(above[0], topology)
        _total(above[-1], topology)
        _betti(below, topology)
    return figure


def _over_groups(ax: Axes, topology: Topology) -> None:
    shapes = [(x, each.shape) for x, each in enumerate(topology.layers) if each.shape is not None]
    drawn = []
    for k in range(topology.max_dimension + 1):
        seen = [(x, each) for x, shape in shapes if (each := shape.over_groups[k]) is not None]
        if not seen:
            continue
        places = np.array([x for x, _ in seen])
        if k == 0:
            _null(ax, places, np.array([(each.null_low, each.null_high) for _, each in seen]))
        drawn.append((k, places + _shift(k), [each.ratio for _, each in seen]))
    _series(ax, drawn)
    ax.set_ylabel("bars of classes ÷\nof random clouds")
    low, high = ax.get_ylim()
    ax.set_ylim(max(0.0, low - 0.05), high + 0.12 * (high - low) + 0.05)
    _named(ax, drawn)


def _null(ax: Axes, places: Floats, ends: Floats) -> None:
    edges = np.stack([places - 0.5, places + 0.5], axis=1).ravel()
    low, high = ends.repeat(2, axis=0).T
    ax.fill_between(edges, low, high, color=figures.COLORS.band, linewidth=0, zorder=0)
    ax.annotate(
        "gaps of random clouds, 95 %",
        (places[0] - 0.45, ends[0, 1]),
        (0, 2),
        textcoords="offset points",
        fontsize=8,
        color=figures.COLORS.muted,
    )


def _total(ax: Axes, topology: Topology) -> None:
    totals = [
        (x, each.shape.total)
        for x, each in enumerate(topology.layers)
        if each.shape is not None and each.shape.total is not None
    ]
    ax.set_ylabel("sum of bars ÷\ndiameter")
    if not totals:
        ax.text(0.5, 0.5, "no layer has a shape", ha="center", va="center", transform=ax.transAxes)
        ax.set_yticks([])
        return
    places = np.array([x for x, _ in totals])
    # Gaps are as many as points, loops few: only a log axis shows both, and straight around 0 it shows that none is.
    ax.set_yscale("symlog", linthresh=0.1, linscale=0.5)
    drawn = [(k, places + _shift(k), [total[k] for _, total in totals]) for k in range(topology.max_dimension + 1)]
    _series(ax, drawn)
    ax.set_ylim(bottom=0)
    _named(ax, drawn)


def _series(ax: Axes, drawn: Sequence[tuple[int, Floats, Sequence[Estimate]]]) -> None:
    for k, places, seen in drawn:
        values, low, high = np.array([(each.value, each.low, each.high) for each in seen]).T
        ax.plot(places, values, color=_COLORS[k], linewidth=0.7, alpha=0.5)
        figures.interval(ax, places, values, low, high, color=_COLORS[k], label=_NOUNS[k])


def _named(ax: Axes, drawn: Sequence[tuple[int, Floats, Sequence[Estimate]]]) -> None:
    # Names stand at the right edge, in the order of the lines' ends, a line's height apart at least.
    bottom = -np.inf
    for value, k in sorted((seen[-1].value, k) for k, _, seen in drawn):
        height = ax.transAxes.inverted().transform(ax.transData.transform((0, value)))[1]
        bottom = max(height, bottom + 0.11)
        ax.text(
            1.005, bottom, _NOUNS[k], transform=ax.transAxes, va="center", fontsize=8, color=_COLORS[k], clip_on=False
        )


def _shift(k: int) -> float:
    return 0.08 * k


def _betti(ax: Axes, topology: Topology) -> None:
    names = topology.classes[:_ROWS]
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    more = len(topology.classes) - len(names)
    ax.set_ylabel(("class" if topology.by_class else "samples") + (f" ({more} more)" if more else ""))
    size = float(np.clip(120 / max(len(topology.layers), 1), 4, 7))
    ax.text(0.0, 1.06, "● part   ○ loop   ◇ void"[: 15 if topology.max_dimension == 1 else None],
            transform=ax.transAxes, fontsize=8, color=figures.COLORS.ink)  # fmt: skip
    for x, layer in enumerate(topology.layers):
        if layer.shape is None:
            ax.text(x, 0, "–", ha="center", va="center", fontsize=size, color=figures.COLORS.muted)
            continue
        for y, name in enumerate(names):
            betti = layer.shape.classes[name].betti
            simple = betti[0] == 1 and not any(betti[1:])
            color = figures.COLORS.muted if simple else figures.COLORS.ink
            ax.text(x, y, _signs(betti), ha="center", va="center", fontsize=size, color=color)


def _signs(betti: Sequence[int]) -> str:
    signs = zip("●○◇", betti, strict=False)
    return " ".join(sign * count if count <= _SIGNS else f"{count}{sign}" for sign, count in signs if count)
