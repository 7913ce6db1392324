"""The pictures of a landscape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._landscape_reading import Landscape


def plot_landscape(seen: Landscape) -> Figure:
    """Draw contours and the surface of a plane, or the loss along a line; networks are marked where they stand."""
    return _line(seen) if seen.losses.ndim == 1 else _plane(seen)


def _line(seen: Landscape) -> Figure:
    figure, ax = figures.new(7.2, 3.0)
    with figures.style():
        ax.plot(seen.coordinates, seen.losses, color=figures.COLORS.accent)
        ax.set_xlabel(_axis(seen, 0))
        ax.set_ylabel("loss")
        _star(ax, 0.0, seen.centre_loss)
        for mark in seen.marks:
            if mark.loss is not None:
                ax.plot([mark.coordinates[0]], [mark.loss], "o", color=figures.COLORS.second)
                figures.direct_label(ax, mark.coordinates[0], mark.loss, mark.name, figures.COLORS.second)
    return figure


def _plane(seen: Landscape) -> Figure:
    figure, (left, right) = figures.new(7.2, 3.6, cols=2)
    right.remove()
    places = seen.coordinates
    with figures.style():
        # Of losses[i, j] the first index is the coordinate along the first direction: along x.
        heights = seen.losses.T
        figures.contours(left, places, places, heights)
        left.set_xlabel(_axis(seen, 0))
        left.set_ylabel(_axis(seen, 1))
        if seen.kind == "networks":
            left.set_aspect(seen.direction_norms[1] / seen.direction_norms[0])
        _star(left, 0.0, 0.0)
        _marks(left, seen)
        above = figures.surface(figure, (1, 2, 2), places, places, heights, "loss")
        above.set_xlabel("a")
        above.set_ylabel("b")
    return figure


def _marks(ax: Axes, seen: Landscape) -> None:
    if not seen.marks:
        return
    x, y = np.array([mark.coordinates for mark in seen.marks]).T
    if seen.kind == "path":
        # It ends at the subject.
        ax.plot([*x, 0.0], [*y, 0.0], "-o", color=figures.COLORS.second, markersize=2.5, linewidth=0.9)
        figures.direct_label(ax, x[0], y[0], seen.marks[0].name, figures.COLORS.second)
        return
    ax.plot(x, y, "o", color=figures.COLORS.second)
    for mark in seen.marks:
        figures.direct_label(ax, mark.coordinates[0], mark.coordinates[1], mark.name, figures.COLORS.second)


def _star(ax: Axes, x: float, y: float) -> None:
    ax.plot([x], [y], marker="*", color=figures.COLORS.second, markersize=8, markeredgewidth=0, linestyle="")


def _axis(seen: Landscape, index: int) -> str:
    name, length = "ab"[index], seen.direction_norms[index]
    of = {
        "random": "random direction",
        "given": "direction",
        "networks": f"toward {seen.marks[0].name}" if seen.marks and not index else "at right angles",
        "path": f"principal component {index + 1}",
    }[seen.kind]
    share = f", {seen.explained[index]:.0%} of the path's variance" if seen.explained is not None else ""
    return f"{name}: {of}{share} (1 = {length:.3g})"
