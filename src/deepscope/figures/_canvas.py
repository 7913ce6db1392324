"""An empty figure in deepscope's style."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from deepscope.figures._palette import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def style() -> AbstractContextManager[None]:
    """Return a context in which matplotlib uses deepscope's style; outside it, nothing of the user's changes.

    ``new`` and ``to_svg`` enter it by themselves. It is needed only for what reads the settings when it is called,
    such as ``Axes.set_title``.
    """
    import matplotlib as mpl
    from cycler import cycler

    settings: dict[str, Any] = {
        "figure.facecolor": COLORS.paper,
        "figure.dpi": 96,
        "axes.facecolor": "none",
        "axes.edgecolor": COLORS.muted,
        "axes.linewidth": 0.6,
        "axes.labelcolor": COLORS.ink,
        "axes.labelsize": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.titlecolor": COLORS.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.prop_cycle": cycler(color=[COLORS.accent, COLORS.second, COLORS.third]),
        "axes.formatter.useoffset": False,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "grid.color": COLORS.grid,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "text.color": COLORS.ink,
        "xtick.color": COLORS.muted,
        "ytick.color": COLORS.muted,
        "xtick.labelcolor": COLORS.ink,
        "ytick.labelcolor": COLORS.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.visible": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "deepscope",
    }
    return mpl.rc_context(settings)  # type: ignore[arg-type]


def new(width: float = 7.2, height: float = 3.0, rows: int = 1, cols: int = 1, **grid: Any) -> tuple[Figure, Any]:
    """Return an empty figure in deepscope's style, and its axes.

    Parameters
    ----------
    width, height
        Size of the whole figure in inches. 7.2 fills the column of a report.
    rows, cols
        Number of axes.
    **grid
        Passed to ``Figure.subplots``: ``sharex``, ``sharey``, ``width_ratios``, ``height_ratios`` …

    Returns
    -------
    figure, axes
        ``axes`` is one Axes, or an array of them of shape [cols], [rows] or [rows, cols], as ``Figure.subplots``
        gives it. The figure belongs to no window and to no global list: nothing has to be closed.

    Notes
    -----
    The functions of this package never read text as mathematics, so that a layer named ``a$b$c`` keeps its name.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, cols, **grid)
    return figure, axes
