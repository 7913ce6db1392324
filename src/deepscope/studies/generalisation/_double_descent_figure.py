"""The picture of double descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.generalisation._gaussian_design import NOISE, expected_excess_risk
from deepscope.studies.generalisation._least_squares import Floats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(trials: pd.DataFrame) -> Figure:
    """Draw test risk, test error and norm over N/n, and the Gaussian design beside its theory."""
    figure, axes = figures.new(7.2, 5.4, rows=2, cols=2)
    risk, error, norm, gaussian = axes.flat
    with figures.style():
        for ax, column, title in (
            (risk, "risk", "Test risk (squared)"),
            (error, "error", "Test error (share of images)"),
            (norm, "norm", "Norm of the coefficients"),
        ):
            ax.set(title=title, xlabel="features per training image, N/n")
            _axes_of_ratios(ax, (0.01, 0.1, 1, 10))
            ax.set_yscale("log")
            _curve(ax, trials, column, COLORS.accent, "minimum norm", label_at=1.05)
            _curve(ax, trials, f"ridge_{column}", COLORS.second, "ridge", label_at=20.0)
        _mark_first_minimum(risk, trials)
        figures.direct_label(risk, 1.0, risk.get_ylim()[1] / 2, "published peak", COLORS.muted)
        gaussian.set(title="Excess risk, Gaussian design; lines: theory", xlabel="features per sample, p/n")
        _axes_of_ratios(gaussian, (0.2, 0.5, 1, 2, 5))
        gaussian.set(xlim=(0.17, 10), ylim=(-0.1, 3))
        _points(gaussian, trials, "gaussian", COLORS.accent, "σ = 0.5", label_at=1.25)
        _points(gaussian, trials, "noiseless", COLORS.third, "σ = 0", label_at=2.0)
    return figure


def _axes_of_ratios(ax: Axes, ticks: Sequence[float]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.axvline(1.0, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)


def _mark_first_minimum(ax: Axes, trials: pd.DataFrame) -> None:
    ratio, rows = _curves(trials, "risk", "fourier")
    if len(rows):
        middle = np.exp(np.log(rows).mean(axis=0))
        lowest = int(np.argmin(np.where(ratio < 1, middle, np.inf)))
        ax.plot([ratio[lowest], ratio[-1]], [middle[lowest]] * 2, ":", color=COLORS.muted, zorder=1)
        figures.direct_label(ax, ratio[-1], middle[lowest], "first\nminimum", COLORS.muted)


def _curve(ax: Axes, trials: pd.DataFrame, column: str, color: str, label: str, label_at: float) -> None:
    """Draw the geometric mean over seeds with its 95 % interval; of an error, which may be 0, the mean."""
    ratio, rows = _curves(trials, column, "fourier")
    if not len(rows):
        return
    middle, low, high = figures.over_seeds(rows, log=not column.endswith("error"))
    ax.plot(ratio, middle, "o-", color=color, markersize=2.2, label=label)
    ax.fill_between(ratio, low, high, color=color, alpha=0.25, linewidth=0)
    figures.direct_label(ax, label_at, middle[np.argmin(np.abs(ratio - label_at))], label, color)


def _points(ax: Axes, trials: pd.DataFrame, design: str, color: str, label: str, label_at: float) -> None:
    """Draw the mean over seeds with its 95 % interval, and the theory as a line."""
    ratio, rows = _curves(trials, "excess", design)
    if not len(rows):
        return
    # The theory hardly depends on n at a given p/n; on a fine grid of p the line is smooth.
    n = 1000
    for p in (np.arange(170, n - 1, 5), np.arange(n + 5, 10 * n, 5)):
        ax.plot(p / n, [expected_excess_risk(n, int(each), NOISE[design]) for each in p], color=color, alpha=0.6)
    middle, low, high = figures.over_seeds(rows)
    figures.interval(ax, ratio, middle, low, high, color=color, label=label)
    figures.direct_label(ax, label_at, middle[np.argmin(np.abs(ratio - label_at))], label, color)


def _curves(trials: pd.DataFrame, column: str, design: str) -> tuple[Floats, Floats]:
    """Return N/n, [points], and the curves, [seeds, points]."""
    ratios, curves = (per_seed(trials, name, design=design).to_list() for name in ("ratio", column))
    return (np.asarray(ratios[0]), np.stack(curves)) if curves else (np.empty(0), np.empty((0, 0)))
