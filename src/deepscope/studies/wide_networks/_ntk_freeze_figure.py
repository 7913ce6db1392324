"""The picture of the frozen kernel: its change, the distance from the linearisation, one course and one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.figures import COLORS
from deepscope.studies.wide_networks._wide_tasks import COVERED, circle_target, compared_angles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {"relu": "ReLU", "erf": "erf"}
#: Largest gap that is called none, as part of the range of the targets.
SAME = 0.02
#: Scaling, activation, colour, style of line, label in the panel of the kernel, where it stands: factor, alignments.
SERIES: tuple[tuple[str, str, str, Any, str, float, str, str], ...] = (
    ("mean field", "relu", COLORS.second, "-", "mean-field scaling, ReLU", 1.35, "left", "bottom"),
    ("mean field", "erf", COLORS.second, (0, (1, 1)), "mean-field scaling, erf", 0.72, "left", "top"),
    ("ntk", "relu", COLORS.accent, "-", "ReLU (theory: slope −¾)", 1.5, "left", "bottom"),
    ("ntk", "erf", COLORS.third, "-", "erf (theory: slope −1)", 0.16, "left", "top"),
)
#: Exponents of the width with which the kernel's change falls, in theory.
EXPONENTS = {"relu": -0.75, "erf": -1.0}
#: Scaling, colour, label, where on its curve of the loss it stands, and on which side.
COURSES = (
    ("ntk", COLORS.accent, "NTK\nscaling", 30.0, 1.5, "left", "bottom"),
    ("mean field", COLORS.second, "mean-field\nscaling", 11.0, 0.5, "right", "top"),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the two-layer networks on the circle: kernel change and gap over width, one loss, one gap."""
    trials = trials.reindex(
        columns=trials.columns.union(["task", "depth", "scaling", "activation", "width"], sort=False)
    )
    trials = trials[(trials["task"] == "circle") & (trials["depth"] == 1)]
    figure, axes = figures.new(7.2, 5.8, rows=2, cols=2)
    with figures.style():
        _draw_change(axes[0, 0], trials)
        _draw_gap(axes[0, 1], trials)
        _draw_loss(axes[1, 0], trials)
        _draw_difference(axes[1, 1], trials)
    return figure


def _draw_change(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="How much training changes the kernel", xlabel="width", ylabel="change, part of the kernel")
    for scaling, activation, color, line, label, factor, side, edge in SERIES:
        widths, middle = _over_width(ax, trials, "kernel_change", scaling, activation, color, line)
        if not widths:
            continue
        at = 0
        if scaling == "ntk":
            theory = middle[0] * (np.array(widths) / widths[0]) ** EXPONENTS[activation]
            ax.plot(widths, theory, ":", color=COLORS.ink, linewidth=1.0)
            at = (len(widths) - 1) // 2 if activation == "relu" else 0
        ax.text(widths[at], middle[at] * factor, label, color=color, fontsize=8, ha=side, va=edge)
    _width_axis(ax, trials, (2e-4, 4.0))


def _draw_gap(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Network against its linearisation", xlabel="width", ylabel="largest gap, part of the range")
    for scaling, activation, color, line, *_ in SERIES:
        widths, middle = _over_width(ax, trials, "gap", scaling, activation, color, line)
        if widths and scaling == "ntk":
            ax.text(widths[-1], middle[-1] * 0.7, LABELS[activation], color=color, fontsize=8, ha="right", va="top")
        elif widths and activation == "relu":
            ax.text(
                widths[-1], middle[-1] * 1.3, "mean-field scaling", color=color, fontsize=8, ha="right", va="bottom"
            )
    widths, middle = _over_width(ax, trials, "untrained_gap", "ntk", "relu", COLORS.muted, (0, (4, 2)))
    if widths:
        ax.text(widths[0], middle[0] * 1.3, "before training, ReLU", color=COLORS.muted, fontsize=8, va="bottom")
    ax.axhline(SAME, color=COLORS.ink, linewidth=1.0, linestyle=":")
    ax.text(1.0, SAME * 1.1, "2 %", fontsize=8, ha="right", va="bottom", transform=ax.get_yaxis_transform())
    _width_axis(ax, trials, (1e-4, 4.0))


def _over_width(
    ax: Axes, trials: pd.DataFrame, column: str, scaling: str, activation: str, color: str, line: Any
) -> tuple[list[int], Any]:
    """Draw geometric means over seeds with their intervals; return the widths and the means."""
    chosen = trials[(trials["scaling"] == scaling) & (trials["activation"] == activation)]
    chosen = chosen.reindex(columns=["width", column]).dropna()
    widths = sorted({int(width) for width in chosen["width"]})
    if not widths:
        return [], np.empty(0)
    values = [chosen.loc[chosen["width"] == width, column].astype(float) for width in widths]
    middle, low, high = np.transpose([figures.over_seeds(each, log=True) for each in values])
    figures.interval(ax, widths, middle, low, high, color=color)
    ax.plot(widths, middle, color=color, linewidth=0.9, linestyle=line)
    return widths, middle


def _width_axis(ax: Axes, trials: pd.DataFrame, limits: tuple[float, float]) -> None:
    ax.set(xscale="log", yscale="log", ylim=limits)
    widths = sorted({int(width) for width in trials["width"].dropna()})
    ticks = widths[:: -(-len(widths) // 6)] if widths else []
    ax.set_xticks(ticks, [str(width) for width in ticks])
    decades = [each for each in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) if limits[0] <= each <= limits[1]]
    ax.set_yticks(decades, [f"{100 * each:g} %" for each in decades])
    ax.minorticks_off()


def _one(trials: pd.DataFrame, scaling: str) -> pd.Series[Any] | None:
    """Return the trial of the widest ReLU network of the first seed."""
    if "network" not in trials:
        return None
    chosen = trials[(trials["scaling"] == scaling) & (trials["activation"] == "relu")].dropna(subset=["gap"])
    return None if chosen.empty else chosen.sort_values(["width", "seed"], ascending=[False, True]).iloc[0]


def _draw_loss(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="How one network learns", xlabel="steps of training", ylabel="mean squared error")
    ax.set(xscale="log", yscale="log")
    for scaling, color, label, place, factor, side, edge in COURSES:
        one = _one(trials, scaling)
        if one is None:
            continue
        steps = np.asarray(one["step"]) + 1
        ax.plot(steps, one["course"], color=color, linewidth=2.6, alpha=0.45)
        ax.plot(steps, one["formula"], color=color, linewidth=1.1, linestyle=(0, (3, 2)))
        at = int(np.argmin(np.abs(np.log(steps / place))))
        ax.text(steps[at], one["course"][at] * factor, label, color=color, fontsize=8, ha=side, va=edge)
    ax.text(
        0.97, 0.97, "dashed: predicted\nfrom the first kernel", fontsize=8, ha="right", va="top", transform=ax.transAxes
    )
    counts = [each for each in (1, 10, 100, 1000, 10_000) if ax.get_xlim()[0] <= each <= ax.get_xlim()[1]]
    ax.set_xticks(counts, [str(each) for each in counts])
    errors = [each for each in (0.001, 0.01, 0.1, 1.0) if ax.get_ylim()[0] <= each <= ax.get_ylim()[1]]
    ax.set_yticks(errors, [f"{each:g}" for each in errors])
    ax.minorticks_off()


def _draw_difference(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Where it parts from its linearisation", xlabel="angle on the circle, degrees", xlim=(0, 360))
    ax.set(ylabel="difference, part of the range", ylim=(-0.06, 0.06))
    ax.set_xticks([0, 90, 180, 270, 360])
    ax.set_yticks([-0.05, 0, 0.05], ["−5 %", "0", "5 %"])
    ax.axvspan(360 * COVERED, 360, color=COLORS.band, linewidth=0, zorder=0)
    ax.text(360 * (1 + COVERED) / 2, 0.057, "no data", color=COLORS.muted, fontsize=8, ha="center", va="top")
    angles = compared_angles()
    for scaling, color, label, *_ in COURSES:
        one = _one(trials, scaling)
        if one is None:
            continue
        difference = (np.asarray(one["network"]) - np.asarray(one["linearised"])) / np.ptp(circle_target(angles))
        ax.plot(np.rad2deg(angles), difference, color=color)
        # Of either, a place where the other is not.
        at, edge = (int(np.argmax(difference)), "bottom") if scaling == "mean field" else (len(angles) // 12, "top")
        ax.text(
            np.rad2deg(angles[at]),
            difference[at] + (0.003 if edge == "bottom" else -0.013),
            label.replace("\n", " "),
            color=color,
            fontsize=8,
            ha="left",
            va=edge,
        )
