"""The picture of the deep BSDE solver: values, errors, losses, and what remains as the step shrinks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.models import HamiltonJacobiBellman
from deepscope.studies.differential_equations._deep_bsde_cases import ALLEN_CAHN, HJB, LARGEST_SHARE
from deepscope.studies.differential_equations._parabolic_truths import Floats, solution

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ONE, _TWENTY = HJB[1.0], HJB[20.0]


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the four panels that ``STUDY.caption`` explains."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _values(axes[0, 0], trials)
        _shares(axes[0, 1], trials)
        _losses(axes[1, 0], trials)
        _biases(axes[1, 1], trials)
    return figure


def _values(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="HJB: u(0, 0), with 20 steps", xlabel="strength λ of the nonlinear term", ylabel="u(0, 0)")
    dimension = _first(trials, "dimension")
    if dimension is None:
        return
    rates = np.linspace(0, 24, 49)
    exact = [solution(HamiltonJacobiBellman(rate=rate, dimension=int(dimension))) for rate in rates]
    ax.plot(rates, exact, color=COLORS.ink, zorder=1)
    ax.axhline(exact[0], color=COLORS.muted, linestyle=":", zorder=1)
    figures.direct_label(ax, 9, exact[0], "no network", COLORS.muted)
    ax.texts[-1].set_position((0, -8))
    figures.direct_label(ax, 8.5, exact[17], "exact", COLORS.ink)
    ax.texts[-1].set_position((-30, -8))
    for rate in (0.0, 1.0, 20.0):
        _points(ax, rate, _entries(trials, "value", 20, **HJB[rate], solver="network"), COLORS.accent)
    at_twenty = _entries(trials, "value", 20, **_TWENTY, solver="network")
    if len(at_twenty):
        figures.direct_label(ax, 20, float(at_twenty.mean()), "network", COLORS.accent)
        ax.texts[-1].set_position((-16, 12))
    ax.set_xlim(-0.8, 24)


def _shares(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="HJB: error of u(0, 0)", xlabel="steps in time, N", ylabel="share of the error without network")
    _steps_axis(ax)
    ax.axhline(1.0, color=COLORS.muted, linestyle=":", zorder=1)
    figures.direct_label(ax, 5, 1.0, "no network", COLORS.muted)
    ax.texts[-1].set_position((-6, -8))
    for most in LARGEST_SHARE.values():
        figures.band(ax, 0, most)
    ax.set_ylim(0, 1.08)
    for which, color, label in ((_ONE, COLORS.accent, "λ = 1"), (_TWENTY, COLORS.second, "λ = 20")):
        last = _curve(ax, trials, "value", which, color, "network", share=True)
        if last is not None:
            figures.direct_label(ax, 40, last, label, color)
    for steps in (20, 40):
        low = _share(_entries(trials, "value", steps, **_TWENTY, solver="radial"), trials, _TWENTY, "radial")
        _points(ax, steps * 1.06, low, COLORS.second, marker="D")
        if steps == 20 and len(low):
            figures.direct_label(ax, steps, float(low.mean()), "least loss", COLORS.second)
            ax.texts[-1].set_position((-2, 12))


def _losses(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(
        title="Squared miss at the terminal time",
        xlabel="steps in time, N",
        ylabel="share of the terminal variance",
    )
    _steps_axis(ax)
    ax.set_yscale("log")
    ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    ax.set_ylim(0.018, 1.3)
    ax.axhline(1.0, color=COLORS.muted, linestyle=":", zorder=1)
    figures.direct_label(ax, 5, 1.0, "no network", COLORS.muted)
    ax.texts[-1].set_position((-6, -8))
    ax.axhline(0.5, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    ax.plot([5, 40], [1 / 5, 1 / 40], ":", color=COLORS.ink)
    figures.direct_label(ax, 10, 1 / 10, "1/N", COLORS.ink)
    ax.texts[-1].set_position((-24, -6))
    for which, color, label, shift in (
        (ALLEN_CAHN, COLORS.third, "Allen–Cahn", 5),
        (_ONE, COLORS.accent, "λ = 1", 0),
        (_TWENTY, COLORS.second, "λ = 20", -5),
    ):
        last = _curve(ax, trials, "loss", which, color, "network")
        if last is not None:
            figures.direct_label(ax, 40, last, label, color)
            ax.texts[-1].set_position((5, shift))


def _biases(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Relative error of u(0, 0)", xlabel="length of a step, 1/N", ylabel="error, %")
    ax.axhline(0, color=COLORS.ink, linewidth=0.8, zorder=1)
    ax.set_xticks([0, 1 / 40, 1 / 20, 1 / 10], ["0", "1/40", "1/20", "1/10"])
    ax.set_xlim(-0.014, 0.125)
    for which, color, label, tolerance, shift in (
        (ALLEN_CAHN, COLORS.third, "Allen–Cahn", 0.30, -0.003),
        (_ONE, COLORS.accent, "HJB, λ = 1", 0.17, 0.003),
    ):
        ax.errorbar(2.5 * shift, 0, yerr=tolerance, fmt="none", color=color, elinewidth=0.8, capsize=4, zorder=1)
        errors = {n: _errors(trials, n, which) for n in (10, 20, 40)}
        for n, values in errors.items():
            _points(ax, 1 / n + shift, values, color)
        _points(ax, shift, 2 * errors[40] - errors[20], color, hollow=True)
        if len(errors[10]):
            figures.direct_label(ax, 0.1 + shift, float(np.nanmean(errors[10])), label, color)
            ax.texts[-1].set_position((-46, 12))


def _steps_axis(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks([5, 10, 20, 40], ["5", "10", "20", "40"])
    ax.set_xlim(4.5, 80)


def _first(trials: pd.DataFrame, column: str) -> Any:
    return trials[column].iloc[0] if column in trials and len(trials) else None


def _entries(trials: pd.DataFrame, column: str, steps: int, **case: Any) -> Floats:
    """Return a curve's entries at a number of steps, [seeds], NaN where there is none."""
    grids, curves = (per_seed(trials, name, **case) for name in ("steps", column))
    found = [
        np.append(np.asarray(curve)[np.asarray(grid) == steps], math.nan)[0]
        for grid, curve in zip(grids, curves, strict=True)
    ]
    return np.array(found, dtype=float)


def _share(values: Floats, trials: pd.DataFrame, which: dict[str, Any], solver: str) -> Floats:
    truth, nothing = (
        per_seed(trials, name, solver=solver, **which).to_numpy(dtype=float) for name in ("truth", "without_network")
    )
    found: Floats = np.abs((values - truth) / (nothing - truth))
    return found


def _errors(trials: pd.DataFrame, steps: int, which: dict[str, Any]) -> Floats:
    truth = per_seed(trials, "truth", solver="network", **which).to_numpy(dtype=float)
    found: Floats = 100 * (_entries(trials, "value", steps, solver="network", **which) / truth - 1)
    return found


def _curve(
    ax: Axes, trials: pd.DataFrame, column: str, which: dict[str, Any], color: str, solver: str, share: bool = False
) -> float | None:
    """Draw means over seeds at 5, 10, 20 and 40 steps, joined; return the last mean."""
    means = []
    for steps in (5, 10, 20, 40):
        values = _entries(trials, column, steps, **which, solver=solver)
        values = _share(values, trials, which, solver) if share else values
        _points(ax, steps, values, color)
        means.append(float(np.nanmean(values)) if np.isfinite(values).any() else math.nan)
    ax.plot([5, 10, 20, 40], means, color=color, linewidth=0.8)
    return means[-1] if math.isfinite(means[-1]) else None


def _points(ax: Axes, x: float, values: Floats, color: str, *, marker: str = "o", hollow: bool = False) -> None:
    """Draw the mean of a number of seeds with its 95 % interval."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    mean, low, high = figures.over_seeds(values)
    figures.interval(ax, x, mean, low, high, color=color)
    if marker != "o" or hollow:
        face = COLORS.paper if hollow else color
        ax.plot(x, mean, marker, color=color, markerfacecolor=face, markersize=5, zorder=4)
