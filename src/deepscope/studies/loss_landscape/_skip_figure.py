"""The picture of the loss around networks with and without skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.loss_landscape._skip_cases import DEEP, networks, picked

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Whether with skip connections: colour, what is said of it.
ARMS = {False: (COLORS.second, "without skip connections"), True: (COLORS.accent, "with skip connections")}
#: Column, title, label of the axis, factor, places of its ticks if it is logarithmic.
PANELS: tuple[tuple[str, str, str, float, tuple[float, ...]], ...] = (
    (
        "non_convexity",
        "Negative against positive curvature",
        "mean of |min(λ_min, 0)| / λ_max",
        1,
        (0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    ),
    (
        "roughness",
        "How sharply the log loss bends",
        "mean squared second difference",
        1,
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    ),
    ("bumpy_lines", "Lines on which the loss rises and falls", "% of the lines of a slice", 100, ()),
    ("test_error", "Test error", "% of the other digits", 100, ()),
)
#: Powers of ten at which the loss has a contour line.
CONTOURS = range(-1, 12)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the slices of one seed's deep networks above, and what is measured of all networks below."""
    figure, axes = figures.new(7.2, 8.2, rows=3, cols=2, height_ratios=[1.8, 1, 1])
    with figures.style():
        for ax, skip in zip(axes[0], ARMS, strict=True):
            _slice(ax, trials, skip=skip)
        for ax, panel in zip(axes[1:].flat, PANELS, strict=True):
            _panel(ax, trials, *panel)
    return figure


def _slice(ax: Axes, trials: pd.DataFrame, *, skip: bool) -> None:
    color, name = ARMS[skip]
    ax.set_title(f"{DEEP} layers {name}", color=color)
    ax.set(xlabel="first direction", ylabel="second direction", aspect="equal")
    ax.set_xticks([-1, 0, 1])
    ax.set_yticks([-1, 0, 1])
    ax.grid(visible=False)
    slices = per_seed(picked(trials, trained=True), "losses", depth=DEEP, skip=skip).dropna()
    if slices.empty:
        return
    losses = np.asarray(slices.iloc[0])
    places = np.linspace(-1, 1, len(losses))
    # Of losses[i, j] the first index is the coordinate along the first direction: along x.
    exponents = [each for each in CONTOURS if losses.min() < 10.0**each < losses.max()]
    lines = ax.contour(
        places, places, np.log10(losses.T), levels=exponents or [0], colors=color, linestyles="-", linewidths=0.8
    )
    ax.clabel(lines, fmt=lambda level: f"{10.0**level:,.10g}" if level < 4 else f"10{_raised(int(level))}", fontsize=7)
    ax.plot(0, 0, "*", color=COLORS.ink, markersize=6, markeredgewidth=0)


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _panel(
    ax: Axes, trials: pd.DataFrame, column: str, title: str, label: str, factor: float, ticks: tuple[float, ...]
) -> None:
    log = bool(ticks)
    # Only curvatures are measured of untrained networks that say something.
    rows = [row for row in networks(trials) if row[2] or column == "non_convexity"]
    ax.set(title=title, xlabel=label, xscale="log" if log else "linear")
    seen = []
    for place, (_, depth, trained) in enumerate(rows):
        for skip, (color, _) in ARMS.items():
            values = per_seed(picked(trials, trained=trained), column, depth=depth, skip=skip).dropna()
            known = factor * values[(values > 0) | (not log)].to_numpy(dtype=float)
            if not len(known):
                continue
            middle, low, high = figures.over_seeds(known, log=log)
            height = place + (0.13 if skip else -0.13)
            ax.plot([low, high], [height] * 2, color=color, linewidth=1.1, alpha=0.6)
            ax.plot(middle, height, "o", color=color, markeredgewidth=0)
            seen += [middle, np.nan_to_num(high)]
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.6)
    ax.grid(visible=False)
    if log:
        least, most = ax.get_xlim()
        shown = [tick for tick in ticks if least <= tick <= most]
        ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
        ax.minorticks_off()
    else:
        ax.set_xlim(0, 1.1 * (max(seen, default=0.0) or 1.0))
