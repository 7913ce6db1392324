"""The picture of the frequency principle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.learning_dynamics._fourier_modes import MODES, TOLERANCE, Floats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAINTS = (COLORS.accent, COLORS.third, COLORS.second)
_SINES = {"target": "1, 3, 5", "learner": "network", "loss": "value"}
#: Series of the panel of steps: the case, its name, its colour, and the place of the name from its lowest or highest
#: frequency, in points.
_SERIES: tuple[tuple[dict[str, str], str, str, int, tuple[int, int]], ...] = (
    (_SINES, "network", COLORS.accent, 0, (6, -1)),
    (
        {**_SINES, "loss": "value and second derivative"},
        "network, second\nderivatives in loss",
        COLORS.third,
        0,
        (-6, 14),
    ),
    ({**_SINES, "learner": "waves"}, "network on\nrandom waves", COLORS.muted, -1, (7, 0)),
    ({**_SINES, "learner": "Jacobi"}, "Jacobi", COLORS.second, -1, (7, 0)),
)
_WIDTHS = ("½", "1", "2")


def draw(trials: pd.DataFrame) -> Figure:
    """Draw errors of frequencies over training, steps to fit them, and filtered errors on digits."""
    figure, ((modes, steps), (digits, ratios)) = figures.new(7.2, 5.4, rows=2, cols=2)
    with figures.style():
        _errors_of_modes(modes, trials)
        _steps_over_frequency(steps, trials)
        _filtered_errors(digits, trials)
        _ratios_over_width(ratios, trials)
    return figure


def _errors_of_modes(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="A network learns sin x + sin 3x + sin 5x", xlabel="training step + 1", ylabel="relative error")
    ax.set(xscale="log", yscale="log", ylim=(1e-3, 3))
    ax.axhline(TOLERANCE, color=COLORS.ink, linewidth=0.7, linestyle=(0, (4, 2)))
    ax.text(1.0, TOLERANCE, f"{TOLERANCE:.0%}".replace("%", " %"), va="bottom", fontsize=8, color=COLORS.ink)
    steps = per_seed(trials, "step", **_SINES)
    for name, label, paint in zip(MODES, ("sin x", "sin 3x", "sin 5x"), _PAINTS, strict=True):
        for at, error in zip(steps, per_seed(trials, f"{name}_error", **_SINES), strict=True):
            ax.plot(np.asarray(at) + 1, error, color=paint, linewidth=0.5, alpha=0.5)
        fitted = _numbers(per_seed(trials, f"{name}_step", **_SINES))
        if len(fitted):
            middle, low, high = _geometric(fitted)
            ax.plot([low, high], [TOLERANCE] * 2, color=paint, linewidth=2.2, zorder=3)
            ax.plot(middle, TOLERANCE, "o", color=paint, markersize=4.5, zorder=4)
            _name(ax, middle, label, paint)


def _name(ax: Axes, x: float, text: str, paint: str) -> None:
    """Write a frequency's name above its mark."""
    box = {"facecolor": COLORS.paper, "edgecolor": "none", "pad": 1, "alpha": 0.85}
    ax.annotate(
        text,
        xy=(x, TOLERANCE),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=paint,
        fontsize=8,
        bbox=box,
    )


def _steps_over_frequency(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Steps until the error stays below 30 %", xlabel="frequency k (periods in 2π)", ylabel="steps")
    ax.set(yscale="log", xlim=(0.5, 7.9), ylim=(8, 2e4))
    ax.set_xticks(range(1, 7))
    for case, label, paint, end, place in _SERIES:
        points = [
            (
                float(per_seed(trials, f"{name}_frequency", **case).iloc[0]),
                *figures.over_seeds(np.maximum(fitted, 1.0), log=True),
            )
            for name in MODES
            if len(fitted := _numbers(per_seed(trials, f"{name}_step", **case)))
        ]
        if points:
            table = np.array(points).T
            figures.interval(ax, *table, color=paint)
            ax.plot(table[0], table[1], color=paint, linewidth=0.9)
            _beside(ax, (table[0, end], table[1, end]), label, paint, place)
    drawn: dict[str, Any] = {**_SINES, "target": "random"}
    for name in MODES:
        frequencies, found = (
            per_seed(trials, f"{name}_{what}", **drawn).astype(float) for what in ("frequency", "step")
        )
        # Beside the points of the first sum.
        ax.plot(frequencies + 0.2, found, "o", color=COLORS.accent, fillstyle="none", markersize=3.5, mew=0.7)
    highest = _numbers(per_seed(trials, "high_step", **drawn))
    if len(highest):
        _beside(ax, (5.0, highest.max()), "network on random sums", COLORS.accent, (-36, 14))


def _beside(ax: Axes, point: tuple[float, float], text: str, paint: str, place: tuple[int, int]) -> None:
    ax.annotate(text, xy=point, xytext=place, textcoords="offset points", va="center", color=paint, fontsize=8)


def _filtered_errors(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="A network learns handwritten digits", xlabel="training step", ylabel="relative error")
    ax.set(yscale="log")
    steps = per_seed(trials, "step", learner="images")
    if steps.empty:
        return
    x = np.asarray(steps.iloc[0])
    for column, label, paint in (
        ("by_heart_high", "", COLORS.muted),
        ("by_heart_low", "low, by heart", COLORS.muted),
        ("network_high", "high part (both)", COLORS.second),
        ("network_low", "low part", COLORS.accent),
    ):
        middle, low, high = figures.over_seeds(np.stack(list(per_seed(trials, column, learner="images"))), log=True)
        ax.plot(x, middle, color=paint, linestyle="--" if column == "by_heart_low" else "-")
        ax.fill_between(x, low, high, color=paint, alpha=0.25, linewidth=0)
        figures.direct_label(ax, x[-1], middle[-1], label, paint)
    ax.set_xlim(0, 1.45 * x[-1])
    ax.set_xticks(np.linspace(0, x[-1], 5).round().astype(int))


def _ratios_over_width(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Error of the high part over that of the low", ylabel="e_high / e_low", yscale="log")
    ax.set(xlabel="squared filter width δ² (1: nearest neighbours)", xlim=(-0.3, 2.9))
    ax.set_xticks(range(len(_WIDTHS)), _WIDTHS)
    ax.axhline(1.0, color=COLORS.muted, linewidth=0.8)
    for column, label, paint in (
        ("network_log_ratios", "network", COLORS.accent),
        ("by_heart_log_ratios", "by heart", COLORS.muted),
    ):
        rows = list(per_seed(trials, column, learner="images"))
        if not rows:
            continue
        middle, low, high = np.exp(figures.over_seeds(np.stack(rows)))
        x: Floats = np.arange(len(middle), dtype=np.float64)
        figures.interval(ax, x, middle, low, high, color=paint)
        figures.direct_label(ax, x[-1], middle[-1], label, paint)
    ax.set_ylim(0.9, None)
    ticks = (1, 2, 3, 5, 10)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def _numbers(series: pd.Series[Any]) -> Floats:
    return np.array(series.dropna().to_list(), dtype=np.float64)


def _geometric(values: Floats) -> Floats:
    """Return the geometric mean and its interval; step 0 counts as 1."""
    return figures.over_seeds(np.maximum(values, 1.0), log=True)
