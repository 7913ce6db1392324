"""Marks that every picture shares: layers along x, intervals, bands, labels beside what they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from deepscope.figures._palette import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

#: A tick label's group is marked with this and the quoted full name; ``to_svg`` makes a tooltip of it.
NAME_MARK = "deepscope-name:"

_LONGEST = 24
_CHARACTER = 0.068  # inches that a character of a tick label takes
_LINE = 0.17  # inches that a slanted label takes along the axis


def layer_axis(ax: Axes, names: Sequence[str]) -> None:
    """Put layers along x, in the order given: layer i stands at x = i.

    As many names are written as can be read; a name too long for the axis is shortened in the middle, and the SVG
    keeps it whole as a tooltip.
    """
    count = len(names)
    ax.set_xlim(-0.5, max(count, 1) - 0.5)
    ax.grid(visible=False, axis="x")
    if not count:
        ax.set_xticks([])
        return
    figure = ax.get_figure(root=True)
    inches = ax.get_position().width * (figure.get_size_inches()[0] if figure is not None else 7.2)
    level = sum(len(name) + 2 for name in names) * _CHARACTER <= inches
    step = 1 if level else max(1, -(-count // int(inches / _LINE)))
    places = list(range(0, count, step))
    labels = [shortened(names[place]) for place in places]
    slant: dict[str, Any] = {} if level else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(places, labels, **slant)
    ax.tick_params(axis="x", length=2)
    # Not strict: of axes that share x all but the last show no labels.
    for place, label in zip(places, ax.get_xticklabels(), strict=False):
        label.set_parse_math(False)
        label.set_gid(NAME_MARK + quote(names[place], safe=""))


def shortened(name: str) -> str:
    """Shorten a name in the middle to what an axis has room for."""
    # A control character would make the SVG unreadable.
    flat = "".join(each if each.isprintable() else "\ufffd" for each in name)
    if len(flat) <= _LONGEST:
        return flat
    # The end tells layers apart: "encoder.layer.11.output.dense".
    return f"{flat[:5]}…{flat[-(_LONGEST - 6) :]}"


def interval(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    label: str | None = None,
    color: str | None = None,
) -> None:
    """Draw points with their intervals.

    Parameters
    ----------
    x, y, low, high
        Scalars or arrays of one length, [n]. Where ``y`` is None or not finite nothing is drawn; where an end is, the
        point alone.
    label
        Name of the series, for a legend or a reader of the figure's object.
    color
        The palette's accent unless given.

    Notes
    -----
    All intervals are one path, so that a thousand layers stay a small picture.
    """
    places, values, lows, highs = (np.atleast_1d(np.asarray(each, dtype=float)) for each in (x, y, low, high))
    paint = color or COLORS.accent
    both = np.isfinite(values) & np.isfinite(lows) & np.isfinite(highs)
    gap = np.full(int(both.sum()), np.nan)
    across = np.column_stack([places[both], places[both], gap]).ravel()
    along = np.column_stack([lows[both], highs[both], gap]).ravel()
    ax.plot(across, along, color=paint, linewidth=1.1, alpha=0.6, solid_capstyle="butt", zorder=2)
    seen = np.isfinite(values)
    size = 3.5 if seen.sum() <= 200 else 2.0
    ax.plot(
        places[seen], values[seen], "o", color=paint, markersize=size, markeredgewidth=0, label=label or "", zorder=3
    )


def band(ax: Axes, low: float, high: float) -> None:
    """Shade the range of y in which a value is unremarkable."""
    ax.axhspan(low, high, color=COLORS.band, linewidth=0, zorder=0)


def direct_label(ax: Axes, x: float, y: float, text: str, color: str | None = None) -> None:
    """Write a name beside what it names, instead of a legend."""
    ax.annotate(
        text,
        xy=(x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=color or COLORS.ink,
        fontsize=8,
        parse_math=False,
    )
