"""The picture of weighted alpha: how it, and other numbers, order networks whose test accuracy is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.figures import COLORS
from deepscope.studies.generalisation._model_zoo import SERIES
from deepscope.studies.generalisation._zoo_ranking import (
    POOLED,
    THRESHOLD,
    Numbers,
    by_zoo,
    counted,
    lower_end,
    networks,
    permuted_tau,
    resampled_tau,
    tau,
    upper_end,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "epochs": "training epochs",
    "noise": "label noise",
    "depth": "hidden layers",
    "width": "units per layer",
    "dropout": "dropout",
}
#: Numbers by which networks are ordered, from top to bottom: read off the weights, and what takes no spectrum.
NUMBERS = {
    "alpha_hat": "weighted α",
    "alpha": "mean α",
    "log_frobenius": "log Frobenius norm",
    "log_spectral": "log spectral norm",
    "stable_rank": "stable rank",
    "log_path": "log path norm",
    "log_distance": "distance from start",
    "path": "steps × rate",
    "train_accuracy": "training accuracy",
}
NO_SPECTRUM = ("log_distance", "path", "train_accuracy")


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracy over weighted alpha for each series, and τ by series and by number."""
    judged = counted(trials)
    figure, axes = figures.new(7.2, 9.4, rows=4, cols=2, height_ratios=[1, 1, 1, 1.35])
    with figures.style():
        for ax, series in zip(axes.flat, SERIES, strict=False):
            ax.set(title=TITLES[series] if series in judged else f"{TITLES[series]} (not judged)")
            _series(ax, trials, series)
        _together(axes[2, 1], trials)
        _by_series(axes[3, 0], trials, judged)
        _by_number(axes[3, 1], trials, judged)
    return figure


def _course(trials: pd.DataFrame, series: str) -> Any:
    """Return the settings of a series, and the mean weighted alpha and test accuracy (%) of each."""
    members = networks(trials, series)
    if members.empty:
        return np.empty((3, 0))
    means = members.groupby(series)[["alpha_hat", "test_accuracy"]].mean()
    return np.array([means.index, means["alpha_hat"], 100 * means["test_accuracy"]])


def _series(ax: Axes, trials: pd.DataFrame, series: str) -> None:
    """Draw every network of a series, and the means of each setting as a line."""
    ax.set(xlabel="weighted α", ylabel="test accuracy, %")
    settings, alphas, accuracies = _course(trials, series)
    if not len(settings):
        return
    members = networks(trials, series)
    ax.plot(members["alpha_hat"], 100 * members["test_accuracy"], "o", color=COLORS.accent, alpha=0.25, markersize=2.5)
    ax.plot(alphas, accuracies, "-o", color=COLORS.accent, linewidth=0.9, markersize=3.5)
    ax.margins(x=0.12, y=0.12)
    for place in (0, len(settings) - 1):
        _name(ax, alphas[place], accuracies[place], f"{settings[place]:g}")


def _name(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text,
        (x, y),
        (0, 5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        bbox={"facecolor": COLORS.paper, "alpha": 0.75, "linewidth": 0, "pad": 0.6},
    )


def _together(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the means of all series in one frame, over all networks."""
    ax.set(title="all networks of the zoos", xlabel="weighted α", ylabel="test accuracy, %")
    members = networks(trials, POOLED)
    if members.empty:
        return
    ax.plot(members["alpha_hat"], 100 * members["test_accuracy"], "o", color=COLORS.muted, alpha=0.2, markersize=2)
    for series in SERIES:
        _, alphas, accuracies = _course(trials, series)
        ax.plot(alphas, accuracies, color=COLORS.accent, linewidth=0.9)
        # The ends of the others lie too close together to be named.
        if len(alphas) and np.ptp(accuracies) > 5 * np.ptp(members["test_accuracy"]):
            lowest = int(np.argmin(accuracies))
            beside: dict[str, Any] = {"textcoords": "offset points", "va": "top", "color": COLORS.accent, "fontsize": 8}
            ax.annotate(TITLES[series], (alphas[lowest], accuracies[lowest]), (-4, -8), **beside)
    ax.margins(x=0.1, y=0.15)
    ax.set_xlim(right=ax.get_xlim()[1] + 0.3 * np.ptp(ax.get_xlim()))


def _by_series(ax: Axes, trials: pd.DataFrame, judged: Sequence[str]) -> None:
    """Draw τ of weighted alpha: of each series, their median, all networks at once, and the controls."""
    ax.set(title="τ of weighted α with test accuracy", xlabel="Kendall’s τ (−1: smaller is better)")
    random = [name for name in judged if name != "noise"]
    rows: list[tuple[str, str, Numbers, tuple[Numbers, Numbers] | None]] = []
    for series, title in TITLES.items():
        label = title if series in judged else f"({title})"
        rows.append((label, COLORS.third, by_zoo(trials, [series], tau("alpha_hat")), _ends(trials, [series])))
    rows += [
        ("median of series", COLORS.accent, by_zoo(trials, judged, tau("alpha_hat")), _ends(trials, judged)),
        ("all at once", COLORS.muted, by_zoo(trials, [POOLED], tau("alpha_hat")), None),
        ("accuracies dealt out", COLORS.second, by_zoo(trials, judged, permuted_tau("alpha_hat")), None),
        ("random labels", COLORS.second, by_zoo(trials, random, tau("alpha_hat"), labels="random"), None),
    ]
    for place, (_, paint, numbers, ends) in enumerate(rows):
        if ends is not None:
            low, high = (each.mean() for each in ends)
            ax.plot([low, high], [place, place], color=paint, linewidth=0.8, alpha=0.8, zorder=1)
        _point(ax, place, numbers, paint)
    _frame(ax, [label for label, *_ in rows])
    ax.axvspan(-1, THRESHOLD, color=COLORS.band, linewidth=0, zorder=0)
    ax.text((THRESHOLD - 1) / 2, len(rows) - 1.5, "claimed\nof the median", ha="center", va="center", fontsize=8)


def _ends(trials: pd.DataFrame, series: Sequence[str]) -> tuple[Numbers, Numbers]:
    low, high = (by_zoo(trials, series, resampled_tau("alpha_hat"), reduce=end) for end in (lower_end, upper_end))
    return low, high


def _by_number(ax: Axes, trials: pd.DataFrame, judged: Sequence[str]) -> None:
    """Draw the median τ of each number with test accuracy, and hollow with the generalisation gap."""
    ax.set(title="median τ, by other numbers too", xlabel="Kendall’s τ (hollow: with the gap)")
    for place, number in enumerate(NUMBERS):
        paint = COLORS.muted if number in NO_SPECTRUM else COLORS.third if number != "alpha_hat" else COLORS.accent
        for target, hollow in (("test_accuracy", False), ("gap", True)):
            numbers = by_zoo(trials, judged, tau(number, target))
            _point(ax, place + 0.22 * hollow, numbers, paint, hollow=hollow)
    _frame(ax, list(NUMBERS.values()))
    ax.axhline(5.6, color=COLORS.grid, linewidth=0.6)


def _point(ax: Axes, place: float, numbers: Numbers, paint: str, *, hollow: bool = False) -> None:
    known = numbers.dropna().to_numpy(dtype=float)
    if not len(known):
        return
    middle, low, high = figures.over_seeds(known)
    if np.isfinite(low):
        ax.plot([max(low, -1), min(high, 1)], [place, place], color=paint, linewidth=1 if hollow else 2.2, zorder=2)
    fill = COLORS.paper if hollow else paint
    ax.plot(middle, place, "o", color=paint, markerfacecolor=fill, markersize=4, zorder=3)


def _frame(ax: Axes, labels: Sequence[str]) -> None:
    ax.axvline(0, color=COLORS.muted, linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlim=(-1.05, 1.05), xticks=[-1, -0.5, 0, 0.5, 1], ylim=(len(labels) - 0.4, -0.6))
    ax.grid(visible=False, axis="y")
