"""A matrix as a picture: one shaded cell per entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.figures._marks import shortened
from deepscope.figures._surface import pale_to_dark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

#: Names beside the rows, at most.
_NAMES = 12


def matrix(ax: Axes, values: ArrayLike, names: Sequence[str], label: str, low: float, high: float) -> None:
    """Draw a matrix, its first row at the bottom, with a scale of its shades.

    Parameters
    ----------
    ax
        Axes along whose x the columns stand, column i at x = i.
    values
        [rows, columns]; what is not finite stays blank, what lies beyond the scale has the shade of its end.
    names
        Of the rows; as many are written as can be read.
    label
        What the values are, with their unit.
    low, high
        Ends of the scale.
    """
    ax.grid(visible=False)
    look: dict[str, Any] = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    image = ax.imshow(np.asarray(values, dtype=float), cmap=pale_to_dark(), vmin=low, vmax=high, **look)
    figure = ax.get_figure(root=True)
    assert figure is not None
    scale = figure.colorbar(image, ax=ax, fraction=0.04, pad=0.01, ticks=[low, (low + high) / 2, high])
    scale.set_label(label)
    shown = range(0, len(names), max(1, -(-len(names) // _NAMES)))
    ax.set_yticks(list(shown), [shortened(names[row]) for row in shown])
    for each in ax.get_yticklabels():
        each.set_parse_math(False)
