"""The picture of ensembles of independent networks, and of networks drawn around one solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.core import Value, per_seed
from deepscope.figures import COLORS
from deepscope.studies.generalisation._ensemble_cases import DROPPED, METHODS, PASSES, PLAIN
from deepscope.studies.generalisation._ensemble_measures import (
    gain_around,
    gain_of_inits,
    lost_at_equal_disagreement,
    ratios,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Numbers = pd.Series[Any]

#: Colour and dashes of each way to draw networks.
LOOKS = {
    "random": (COLORS.second, "-"),
    "diagonal": (COLORS.second, "--"),
    "low_rank": (COLORS.third, "-"),
    "dropout": (COLORS.ink, "-"),
    "snapshots": (COLORS.third, "--"),
}
INITS = "initialisations"
#: Points of accuracy.
TOLERANCES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
BARRIERS = (
    ("barrier_inits", "two initialisations", COLORS.accent),
    ("barrier_matched", "the same,\nunits matched", COLORS.accent),
    ("barrier_reordered", "a reordered copy", COLORS.second),
    ("barrier_restored", "the same,\nunits matched", COLORS.second),
    ("barrier_late", "a late snapshot", COLORS.third),
)
#: Of the plane, in percent of the answers: a little beyond where initialisations stand.
FARTHEST = 8.0


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracy over disagreement, gains, dropout passes, barriers, ratios of disagreement, and errors."""
    figure, axes = figures.new(7.2, 8.6, rows=3, cols=2)
    with figures.style():
        for ax, panel in zip(axes.flat, (_plane, _gains, _passes, _barriers, _ratios, _errors), strict=True):
            panel(ax, trials)
    return figure


def _plane(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the accuracy lost over the disagreement, with intervals where it is that of initialisations."""
    highest, apart = 2.0, 100 * per_seed(trials, "disagreement", **PLAIN).to_numpy(dtype=float)
    for place, (method, (color, dashes)) in enumerate(LOOKS.items()):
        differ, lost = (100 * _stacked(trials, f"{method}_{column}") for column in ("disagreement", "lost"))
        if not len(differ):
            continue
        x, y = differ.mean(axis=0), lost.mean(axis=0)
        ax.plot(x, y, dashes, color=color, linewidth=1.0)
        there = 100 * lost_at_equal_disagreement(trials, method).dropna().to_numpy(dtype=float)
        # Side by side, in place of one upon the other.
        figures.interval(ax, apart.mean() + 0.12 * (place - 2), *figures.over_seeds(there), color=color)
        highest = max(highest, float(np.interp(FARTHEST, x, y)))
    if len(apart):
        middle, low, high = figures.over_seeds(apart)
        ax.plot([low, high], [0, 0], color=COLORS.accent, linewidth=1.1, alpha=0.6)
        ax.plot(middle, 0, "o", color=COLORS.accent, markersize=6, markeredgewidth=0)
        ax.annotate(
            INITS, (middle, 0), xytext=(0, -9), textcoords="offset points", color=COLORS.accent, fontsize=8, va="top"
        )
    _names(ax, 0.03, 0.97, {METHODS[method].removeprefix("late "): look for method, look in LOOKS.items()})
    ax.set(title="Accuracy lost, points", xlabel="answers that differ, %", xlim=(0, FARTHEST))
    ax.set_ylim(-0.8, highest)


def _names(ax: Axes, x: float, y: float, looks: Mapping[str, tuple[str, str]]) -> None:
    """Name lines, each with a piece of it."""
    for place, (name, (color, dashes)) in enumerate(looks.items()):
        height = y - 0.085 * place
        ax.plot([x, x + 0.08], [height - 0.03] * 2, dashes, color=color, linewidth=1.2, transform=ax.transAxes)
        ax.text(x + 0.1, height, name, color=color, fontsize=8, va="top", transform=ax.transAxes)


def _gains(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw what an ensemble of five gains, at its own temperature and as predicted, a row each."""
    rows: list[tuple[str, str, list[Numbers]]] = [
        ("5 initialisations", COLORS.accent, [gain_of_inits(trials, own=own) for own in (True, False)]),
        *(
            (name, COLORS.second, [gain_around(trials, method, own=own) for own in (True, False)])
            for method, name in METHODS.items()
        ),
        (
            "snapshots of any age",
            COLORS.second,
            [gain_around(trials, "snapshots", own=own, oldest=1.0) for own in (True, False)],
        ),
        (
            "one network,\nlogits halved",
            COLORS.muted,
            [per_seed(trials, column, **PLAIN) for column in ("softer_own_gain", "softer_gain")],
        ),
    ]
    for place, (_, color, both) in enumerate(rows):
        for values, shift, face in zip(both, (-0.13, 0.13), (color, COLORS.paper), strict=True):
            known = values.dropna().to_numpy(dtype=float)
            if len(known):
                middle, low, high = figures.over_seeds(known)
                ax.plot([low, high], [place + shift] * 2, color=color, linewidth=1.1, alpha=0.6)
                ax.plot(middle, place + shift, "o", color=color, markerfacecolor=face, markersize=4)
    ax.axvline(0, color=COLORS.muted, linewidth=0.8)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    ax.set(title="Gain of five over one, nats", xlabel="● own temperature   ○ as predicted")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False)


def _passes(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the gain of networks trained with dropout over the number of networks or of passes averaged."""
    looks = {}
    for prefix, name, color in (("", "networks", COLORS.accent), ("passes_", "dropout passes", COLORS.second)):
        for column, dashes, how in (("own_nll", "-", "own temperature"), ("nll", "--", "as predicted")):
            looks[f"{name}, {how}"] = (color, dashes)
            curves = _stacked(trials, f"{prefix}{column}", DROPPED)
            if not len(curves):
                continue
            gains = _stacked(trials, column, DROPPED)[:, :1] - curves
            x = np.asarray(PASSES) if prefix else np.arange(1, gains.shape[1] + 1)
            middle, low, high = figures.over_seeds(gains)
            ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
            ax.plot(x, middle, dashes, color=color)
    ax.axhline(0, color=COLORS.muted, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_xticks(PASSES, [str(each) for each in PASSES])
    ax.minorticks_off()
    bottom, top = ax.get_ylim()
    # Room for the names below the curves.
    ax.set_ylim(bottom - 0.6 * (top - bottom), top)
    _names(ax, 0.2, 0.37, looks)
    ax.set(title="Trained with dropout: gain over one network, nats", xlabel="networks or passes averaged")


def _barriers(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw barriers of the training loss, a row each."""
    farthest = 1.0
    for place, (column, _, color) in enumerate(BARRIERS):
        values = per_seed(trials, column, **PLAIN).to_numpy(dtype=float)
        if not len(values):
            continue
        middle, low, high = figures.over_seeds(values)
        end = float(np.nan_to_num(high, nan=middle))
        farthest = max(farthest, end)
        ax.plot([low, high], [place, place], color=color, linewidth=1.1, alpha=0.6)
        ax.plot(middle, place, "o", color=color, markeredgewidth=0)
        ax.annotate(
            f"{middle:.2g}" if middle >= 0.0005 else "0",
            (end, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=8,
        )
    ax.axvspan(-1, 0.02, color=COLORS.band, linewidth=0, zorder=0)
    ax.set_yticks(range(len(BARRIERS)), [name for _, name, _ in BARRIERS])
    ax.set(title="Barrier to another network, nats", xlabel="training loss above the chord")
    ax.set(xlim=(-0.05, 1.2 * farthest), ylim=(len(BARRIERS) - 0.5, -0.5))
    ax.grid(visible=False)


def _ratios(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw how many times as much initialisations disagree, over the accuracy that others may lose."""
    for method, (color, dashes) in LOOKS.items():
        found = ratios(trials, method, np.array(TOLERANCES) / 100)
        if len(found):
            middle, low, high = figures.over_seeds(found, log=True)
            ax.fill_between(TOLERANCES, low, high, color=color, alpha=0.08, linewidth=0)
            ax.plot(TOLERANCES, middle, dashes, color=color)
    ax.axhline(2, color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.axhline(1, color=COLORS.muted, linewidth=0.8)
    ax.set_yscale("log")
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
    _names(ax, 0.5, 0.98, {METHODS[method].removeprefix("late "): look for method, look in LOOKS.items()})
    ax.set(title=f"Disagreement: {INITS} over others", xlabel="accuracy lost at most, points", ylim=(0.5, 30))


def _errors(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw by how much initialisations lower the test error and the calibration error, over their number."""
    for column, sign, name, color in (
        ("accuracy", 1, "test error", COLORS.accent),
        ("calibration_error", -1, "calibration error", COLORS.third),
    ):
        curves = _stacked(trials, column)
        if not len(curves):
            continue
        middle, low, high = 100 * figures.over_seeds(sign * (curves[:, :1] - curves))
        x = np.arange(1, len(middle) + 1)
        ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(x, middle, color=color)
        figures.direct_label(ax, x[-1], middle[-1], name, color)
        ax.set_xlim(1, 1.5 * len(middle))
        ax.set_xticks(x[::2])
    ax.axhline(0, color=COLORS.muted, linewidth=0.8)
    ax.set(title="Errors against one network, points", xlabel="averaged, trained without dropout")


def _stacked(trials: pd.DataFrame, column: str, case: dict[str, Value] = PLAIN) -> NDArray[np.float64]:
    """Return a curve per seed, [seeds, points]."""
    return np.array([np.asarray(curve, dtype=float) for curve in per_seed(trials, column, **case)])
