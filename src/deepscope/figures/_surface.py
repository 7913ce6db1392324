"""A surface over a plane: its contours from above, and the surface itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscope.figures._canvas import style
from deepscope.figures._palette import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

#: From this ratio of the largest to the smallest height on, heights are drawn on a logarithmic scale.
_WIDE = 20.0
_LEVELS = 12


def contours(ax: Axes, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> None:
    """Draw a surface from above: shaded between its contour lines, which carry their heights.

    Parameters
    ----------
    ax
        The axes.
    x, y
        Coordinates, [n] and [m].
    z
        Heights, [m, n], at (x, y); what is not finite stays blank. Heights of a wide range are drawn logarithmically.
    """
    places, height = _places(x, y, z)
    ax.grid(visible=False)
    seen = height[np.isfinite(height)]
    if not len(seen):
        ax.text(0.5, 0.5, "no finite height", ha="center", transform=ax.transAxes, color=COLORS.muted)
        return
    if seen.min() == seen.max():
        ax.text(0.5, 0.5, f"{seen[0]:.4g} everywhere", ha="center", transform=ax.transAxes, color=COLORS.muted)
        return
    levels = _levels(seen)
    ax.contourf(*places, height, levels=levels, cmap=pale_to_dark(), norm=_even(levels), extend="both")
    lines = ax.contour(*places, height, levels=levels, colors=COLORS.accent, linewidths=0.6)
    ax.clabel(lines, levels=list(levels[1::3]), fmt=lambda level: f"{level:.3g}", fontsize=7)


def surface(figure: Figure, place: tuple[int, int, int], x: ArrayLike, y: ArrayLike, z: ArrayLike, label: str) -> Axes:
    """Draw a surface in perspective and return its axes.

    Parameters
    ----------
    figure
        The figure.
    place
        Rows, columns and number of the axes, as ``Figure.add_subplot`` takes them.
    x, y, z
        As for ``contours``.
    label
        What the heights are, with their unit.
    """
    places, height = _places(x, y, z)
    logarithmic = _is_wide(height)
    with style():
        ax: Any = figure.add_subplot(*place, projection="3d")
        shown = np.log10(height) if logarithmic else height
        # A polygon with a corner that has no height is left out.
        look: dict[str, Any] = {"linewidth": 0.2, "edgecolor": COLORS.accent, "rcount": 60, "ccount": 60}
        ax.plot_surface(*places, np.ma.masked_invalid(shown), cmap=pale_to_dark(), **look)
        # A label beside the axis would lie outside the picture.
        ax.set_title(f"log₁₀ {label}" if logarithmic else label, parse_math=False)
        ax.view_init(elev=35, azim=-60)
    found: Axes = ax
    return found


def _places(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    across, along, height = (np.asarray(each, dtype=float) for each in (x, y, z))
    return list(np.meshgrid(across, along)), np.where(np.isfinite(height), height, np.nan)


def _is_wide(height: NDArray[np.float64]) -> bool:
    seen = height[np.isfinite(height)]
    return bool(len(seen)) and seen.min() > 0 and seen.max() > _WIDE * seen.min()


def _levels(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(seen.min()), float(seen.max())
    if _is_wide(seen):
        return np.geomspace(low, high, _LEVELS)
    # Contours of a bowl lie evenly when the root of the height does.
    return low + (high - low) * np.linspace(1 / _LEVELS, 1, _LEVELS) ** 2


def _even(levels: NDArray[np.float64]) -> Normalize:
    """Let the shade grow from level to level, however far apart they are."""
    from matplotlib.colors import BoundaryNorm

    return BoundaryNorm(levels, 256, extend="both")


def pale_to_dark() -> Colormap:
    """Return the colours of heights, readable in grey."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("deepscope", [COLORS.paper, COLORS.band, "#7ea2cb", COLORS.accent])
