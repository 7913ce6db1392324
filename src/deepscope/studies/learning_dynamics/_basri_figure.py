"""The picture of learning times by frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Arm, colour, label, and how far the label stands from the last point, in points.
JUDGED = (
    ("bias", COLORS.accent, "with bias", (5, 0)),
    ("no bias", COLORS.second, "without bias,\neven k", (5, 0)),
    ("Fourier features", COLORS.third, "Fourier\nfeatures", (5, 0)),
)
SHOWN = (
    ("bias", COLORS.accent, "weights at\nequal angles", (5, -12)),
    ("random directions", COLORS.third, "at random\nangles", (5, 10)),
    ("moving weights", COLORS.second, "weights\nmove", (-38, 4)),
)
#: Frequencies whose curves are shown.
CURVES = ((2, COLORS.third), (3, COLORS.second), (4, COLORS.accent), (5, COLORS.muted))
TOLERANCE = 0.1


def draw(trials: pd.DataFrame) -> Figure:
    """Draw steps against frequency, what is left without bias, the distance from theory, and what is not judged."""
    figure, axes = figures.new(7.2, 6.2, rows=2, cols=2)
    times, left, theory, shown = axes.flat
    with figures.style():
        times.set_title("Steps until 5 % is left")
        _times(times, trials, JUDGED)
        _left(left, trials)
        _over_theory(theory, trials)
        shown.set_title("Not judged: other networks with bias")
        _times(shown, trials, SHOWN)
    return figure


def _times(ax: Axes, trials: pd.DataFrame, arms: Any) -> None:
    ax.set(xlabel="frequency k", ylabel="steps", xscale="log", yscale="log")
    highest = 10
    for arm, color, label, moved in arms:
        rows = per_seed(trials, "steps", arm=arm)
        if rows.empty:
            continue
        steps = np.stack(rows.to_list())
        highest = steps.shape[1]
        learnt = np.isfinite(steps).all(axis=0)
        k = np.arange(1, highest + 1)
        if arm == "no bias":
            learnt &= k % 2 == 0
        if learnt.any():
            middle, low, high = figures.over_seeds(steps[:, learnt], log=True)
            ax.plot(k[learnt], middle, color=color, linewidth=0.9)
            figures.interval(ax, k[learnt], middle, low, high, color=color)
            end = k[learnt][-1], middle[-1]
            ax.annotate(label, end, moved, textcoords="offset points", va="center", color=color, fontsize=8)
        if arm == "moving weights":
            late = k[~learnt]
            ax.plot(late, np.full(len(late), _most(trials)), "^", color=color, markersize=4)
        theory = per_seed(trials, "theory", arm=arm)
        if arm == "bias" and not theory.empty:
            expected = np.stack(theory.to_list()).mean(axis=0)
            ax.plot(k, expected, "x", color=COLORS.ink, markersize=4, zorder=4)
            guide = expected[-1] * (k / k[-1]) ** 2
            ax.plot(k, guide, ":", color=COLORS.muted, linewidth=0.9)
            ax.text(k[2], 0.55 * guide[2], "∝ k²", color=COLORS.muted, fontsize=8)
    _frequency_axis(ax, highest)


def _most(trials: pd.DataFrame) -> float:
    return float(trials["most"].max()) if "most" in trials else np.nan


def _frequency_axis(ax: Axes, highest: int) -> None:
    ticks = [k for k in (1, 2, 3, 4, 5, 6, 8, 10) if k <= highest]
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlim(0.9, highest * 2.3)


def _left(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="Without bias odd frequencies stay out", xlabel="steps", ylabel="part of the target left", xscale="log"
    )
    for arm, dashes in (("bias", (0, (2, 2))), ("no bias", "-")):
        marks, rows = (per_seed(trials, name, arm=arm) for name in ("marks", "residuals"))
        if rows.empty:
            continue
        steps, curves = np.asarray(marks.iloc[0]), np.asarray(rows.iloc[0])
        for k, color in CURVES:
            seen = np.isfinite(curves[k - 1]) & (steps > 0)
            if not seen.any():
                continue
            ax.plot(steps[seen], curves[k - 1][seen], color=color, linestyle=dashes, linewidth=1.1)
    for place, (k, color) in enumerate(CURVES):
        ax.text(0.02 + 0.13 * place, 0.95, f"k = {k}", color=color, fontsize=8, va="center", transform=ax.transAxes)
    ax.text(
        0.98, 0.95, "dashed: with bias", color=COLORS.muted, fontsize=8, ha="right", va="center", transform=ax.transAxes
    )
    ax.text(0.98, 0.735, "k = 3 and 5 without bias", color=COLORS.muted, fontsize=8, ha="right", transform=ax.transAxes)
    ax.set_ylim(0, 1.2)
    ax.set_yticks(np.arange(0, 1.1, 0.2))


def _over_theory(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Steps compared with theory", xlabel="frequency k", ylabel="more steps than theory (%)")
    figures.band(ax, -100 * TOLERANCE, 100 * TOLERANCE)
    for arm, color, label, _ in JUDGED[:2]:
        steps, theory = (per_seed(trials, name, arm=arm) for name in ("steps", "theory"))
        if steps.empty or theory.empty:
            continue
        ratios = np.stack(steps.to_list()) / np.stack(theory.to_list())
        k = np.arange(1, ratios.shape[1] + 1)
        chosen = (k >= 2) & ((k % 2 == 0) | (arm == "bias"))
        middle, low, high = figures.over_seeds(ratios[:, chosen])
        figures.interval(ax, k[chosen], *(100 * (each - 1) for each in (middle, low, high)), color=color)
        ax.text(2, (8, 6.4)[arm == "no bias"], label.replace("\n", " "), color=color, fontsize=8)
    ax.set_ylim(-14, 14)
    ax.set_xticks(range(2, 11, 2))
