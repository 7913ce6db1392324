"""The picture of linear regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._regions_reading import Regions

#: More edges than these are drawn as an image: a picture's size stays bounded.
_MOST_LINES = 3000
#: What an image does not show of a square with a side of 2.
_DOT = 1e-3
#: More layers than these are not listed; those that add most are.
_MOST_LAYERS = 14
#: Outputs along a line that are drawn: those that vary most.
_OUTPUTS = 3


def plot_regions(regions: Regions) -> Figure:
    """Draw the cells, their borders in the colour of the layer that makes them; beside it what each layer adds."""
    colors = _colors(len(regions.all_layers))
    if regions.kind == "plane":
        figure, (left, right) = figures.new(7.2, 3.6, cols=2, width_ratios=[1.25, 1])
        with figures.style():
            _plane(left, regions, colors)
            _added(right, regions, colors)
        return figure
    figure, (above, below) = figures.new(7.2, 4.6, rows=2, height_ratios=[1.2, 1])
    with figures.style():
        _line(above, regions, colors)
        _added(below, regions, colors)
    return figure


def _colors(n: int) -> list[str]:
    """Return a colour for each layer, from the first to the last, apart in lightness too."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    palette = figures.COLORS
    if n <= 3:
        return [palette.accent, palette.second, palette.third][:n]
    scale = LinearSegmentedColormap.from_list("layers", [palette.accent, palette.third, "#c9a227", palette.second])
    return [to_hex(scale(place)) for place in np.linspace(0, 1, n)]


def _plane(ax: Axes, regions: Regions, colors: Sequence[str]) -> None:
    from matplotlib.collections import LineCollection

    segments, layers = _borders(regions)
    width = float(np.clip(12 / max(regions.count, 1) ** 0.5, 0.25, 1.0))
    for layer, color in enumerate(colors):
        mine = segments[layers == layer]
        if len(mine):
            lines = LineCollection(
                list(mine), colors=color, linewidths=width, rasterized=regions.count > _MOST_LINES / 2
            )
            ax.add_collection(lines)
    ax.set_xlim(-regions.extent, regions.extent)
    ax.set_ylim(-regions.extent, regions.extent)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set_xlabel("s, in units of u")
    ax.set_ylabel("t, in units of v")
    more = "" if regions.complete else "at least "
    ax.set_title(f"{more}{regions.count:,} regions, the network linear in each", parse_math=False)
    ax.set_xticks(np.linspace(-regions.extent, regions.extent, 5))
    ax.set_yticks(np.linspace(-regions.extent, regions.extent, 5))
    for number, (x, y) in zip(regions.samples, regions.sample_coordinates, strict=True):
        ax.plot([x], [y], "o", color=figures.COLORS.ink, markersize=4.5, markeredgecolor=figures.COLORS.paper)
        left = x > 0.4 * regions.extent
        ax.annotate(
            f"sample {number}",
            (x, y),
            xytext=(-6 if left else 6, 5),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=8,
            bbox={"facecolor": figures.COLORS.paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )


def _borders(regions: Regions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the borders between cells, [n, 2, 2], each once, and the layers that made them."""
    ends = np.cumsum(regions.corner_counts)
    following = np.arange(1, len(regions.corners) + 1)
    following[ends - 1] = ends - regions.corner_counts
    edges = np.sort(np.stack([regions.corners, regions.corners[following]], axis=1), axis=1)
    inner = np.flatnonzero(regions.boundary_layers >= 0)
    _, first = np.unique(edges[inner, 0] * len(regions.points) + edges[inner, 1], return_index=True)
    segments, layers = regions.points[edges[inner[first]]], regions.boundary_layers[inner[first]]
    if len(segments) > _MOST_LINES:
        # Of a great many most are shorter than a dot of the image.
        seen = np.abs(segments[:, 1] - segments[:, 0]).max(axis=1) > _DOT * regions.extent
        segments, layers = segments[seen], layers[seen]
    return segments, layers


def _line(ax: Axes, regions: Regions, colors: Sequence[str]) -> None:
    places = np.append(regions.points[regions.corners[::2], 0], regions.points[regions.corners[-1], 0])
    cuts, layers = regions.cuts, regions.boundary_layers[2::2]
    for layer, color in enumerate(colors):
        mine = cuts[layers == layer]
        if len(mine):
            # In strips below, one for each layer: cuts of all layers would hide each other.
            low, high = 0.03 * layer / len(colors) * 10, 0.03 * (layer + 0.8) / len(colors) * 10
            ax.vlines(mine, low, high, color=color, linewidth=0.8, transform=ax.get_xaxis_transform())
    ax.set_xlim(0, 1)
    ax.grid(visible=False)
    ax.set_xlabel("position on the line, from a to b")
    more = "" if regions.complete else "at least "
    ax.set_title(f"{more}{regions.count:,} linear regions, cut where the marks below are", parse_math=False)
    if not len(regions.outputs):
        ax.set_yticks([])
        return
    shown = np.sort(np.argsort(-np.ptp(regions.outputs, axis=0), kind="stable")[:_OUTPUTS])
    values = regions.outputs[:, shown]
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 1e-12)
    ax.set_ylim(low - 0.55 * room, high + 0.08 * room)
    ax.set_ylabel("output")
    shades = (figures.COLORS.ink, figures.COLORS.muted, "#98a2ad")
    for index, column, shade in zip(shown, values.T, shades, strict=False):
        ax.plot(places, column, color=shade, linewidth=1.0)
        figures.direct_label(ax, 1.0, float(column[-1]), f"output {index}", shade)


def _added(ax: Axes, regions: Regions, colors: Sequence[str]) -> None:
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("regions added by the layer")
    layers = sorted(regions.layers, key=lambda each: -each.added)[:_MOST_LAYERS]
    layers = [each for each in regions.layers if each in layers]
    if not layers:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no layer has units with kinks", ha="center", transform=ax.transAxes)
        return
    places = np.arange(len(layers))
    added = np.array([each.added for each in layers])
    ax.barh(places, added, color=[colors[regions.all_layers.index(each.name)] for each in layers], height=0.7)
    ax.set_yticks(places, [_name(each.name) for each in layers])
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.set_ylim(len(layers) - 0.4, -0.6)
    ax.set_xlim(0, 1.75 * max(added.max(), 1))
    ax.set_ylabel("layer" if len(layers) == len(regions.layers) else f"the {len(layers)} layers that add most")
    for place, each in zip(places, layers, strict=True):
        figures.direct_label(
            ax, each.added, float(place), f"{each.added:,}: {each.cutting:,} of {each.units:,} units cut"
        )


def _name(name: str) -> str:
    return (name if len(name) <= 18 else f"…{name[-17:]}") or "network"
