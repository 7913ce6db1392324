"""The picture of the loss around networks with and without skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
#: Column, title, label of the axis, factor, whether on a logarithmic axis.
PANELS: tuple[tuple[str, str, str, float, bool], ...] = (
    ("non_convexity", "Negative against positive curvature", "mean of |min(λ_min, 0)| / λ_max", 1, True),
    ("roughness", "How sharply the log loss bends", "mean squared second difference", 1, True),
    ("bumpy_lines", "Lines on which the loss rises and falls", "% of the lines of a slice", 100, False),
    ("test_error", "Test error", "% of the other digits", 100, False),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the slices of one seed's deep networks above, and what is measured of all networks below."""
    figure, axes = figures.new(7.2, 8.4, rows=3, cols=2, height_ratios=[1.7, 1, 1])
    rows = networks(trials)
    with figures.style():
        for ax, skip in zip(axes[0], ARMS, strict=True):
            _slice(ax, trials, skip=skip)
        for number, (ax, panel) in enumerate(zip(axes[1:].flat, PANELS, strict=True)):
            _panel(ax, trials, rows, *panel)
            # Names once a row; the panels beside each other share them.
            ax.set_yticks(range(len(rows)), [name for name, *_ in rows] if number % 2 == 0 else [""] * len(rows))
            ax.set_ylim(len(rows) - 0.5, -1.5)
            ax.grid(visible=False)
        for place, (color, name) in enumerate(ARMS.values()):
            axes[1, 0].text(
                0.99, -1.2 + 0.45 * place, name, color=color, fontsize=8, ha="right", va="center",
                transform=axes[1, 0].get_yaxis_transform(),
            )  # fmt: skip
    return figure


def _slice(ax: Axes, trials: pd.DataFrame, *, skip: bool) -> None:
    color, name = ARMS[skip]
    ax.set_title(f"{DEEP} layers {name}", color=color)
    ax.set(xlabel="first direction", ylabel="" if skip else "second direction", aspect="equal")
    slices = per_seed(picked(trials, trained=True), "losses", depth=DEEP, skip=skip).dropna()
    if slices.empty:
        return
    losses = np.asarray(slices.iloc[0])
    places = np.linspace(-1, 1, len(losses))
    figures.contours(ax, places, places, losses.T)
    ax.plot(0, 0, "*", color=COLORS.second, markersize=8, markeredgewidth=0)


def _panel(
    ax: Axes, trials: pd.DataFrame, rows: Any, column: str, title: str, label: str, factor: float, log: bool
) -> None:
    ax.set(title=title, xlabel=label, xscale="log" if log else "linear")
    seen = []
    for place, (_, depth, trained) in enumerate(rows):
        # An untrained network guesses.
        if column == "test_error" and not trained:
            continue
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
    if not log:
        ax.set_xlim(0, 1.1 * (max(seen, default=0.0) or 1.0))
