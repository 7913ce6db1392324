"""The picture of the edge of chaos: signals against theory above, trained networks below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.wide_networks._edge_cases import EDGE, SIGNALS, TRAINED, away_from_the_edge, bounded, theory
from deepscope.studies.wide_networks._edge_criteria import REPORTED, TRAINABLE, accuracy_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.linalg import MeanField

#: σ_w²: colour, style of line; blue is order, orange is chaos.
LINES = {
    1.0: (COLORS.accent, "-"),
    1.3: (COLORS.accent, (0, (4, 1.5))),
    1.75: (COLORS.ink, "-"),
    2.5: (COLORS.second, (0, (4, 1.5))),
    4.0: (COLORS.second, "-"),
}
#: Where a line is named by the number of layers, and by ξ_c: depth, shift in points, side.
NAMED: dict[bool, dict[float, tuple[int, tuple[int, int], str]]] = {
    False: {
        1.0: (30, (-5, -3), "right"),
        1.3: (60, (-6, -8), "right"),
        1.75: (60, (4, 5), "left"),
        2.5: (60, (5, 3), "left"),
        4.0: (40, (-3, -10), "right"),
    },
    True: {
        1.0: (30, (5, 4), "left"),
        1.3: (60, (-4, 6), "right"),
        2.5: (80, (3, 7), "left"),
        4.0: (80, (5, 0), "left"),
    },
}
#: σ_w² whose correlations are shown by layer, and at which layer they are named.
SHOWN = {1.0: 16, 1.75: 34, 4.0: 40}
CURVE = tuple(np.concatenate([np.linspace(0.95, 1.7, 16), np.linspace(1.82, 4.05, 24)]))
MOST_LAYERS = 100.0


def draw(trials: pd.DataFrame) -> Figure:
    """Draw fixed points, correlations and their depth against theory, and accuracies by depth."""
    figure, axes = figures.new(7.2, 8.4, rows=3, cols=2)
    with figures.style():
        _fixed_point(axes[0, 0], trials, "variances", lambda found: found.variance)
        axes[0, 0].set(title="Mean square of a unit's input, deep down", ylabel="q*")
        _fixed_point(axes[0, 1], trials, "growth", lambda found: found.chi1)
        axes[0, 1].set(title="Growth of a small difference per layer", ylabel="χ₁ (mean square)")
        _name_phases(axes[0, 1])
        _correlations(axes[1, 0], trials)
        _depths(axes[1, 1], trials)
        accuracies = accuracy_table(trials)
        _accuracies(axes[2, 0], accuracies, TRAINED, in_units=False)
        axes[2, 0].set(title="Training accuracy after equally many steps", xlabel="hidden layers", ylabel="%")
        _accuracies(axes[2, 1], accuracies, bounded(), in_units=True)
        axes[2, 1].set(title="The same, in units of ξ_c", xlabel="hidden layers / ξ_c of theory", ylabel="%")
        axes[2, 1].set_xlim(0, max(2 * REPORTED, axes[2, 1].get_xlim()[1]))
        axes[2, 1].axvline(REPORTED, color=COLORS.muted, linewidth=0.8, linestyle=":")
        axes[2, 1].text(REPORTED + 0.3, 97, "6 ξ_c, reported", color=COLORS.muted, fontsize=8, va="top")
    return figure


def _over_weights(ax: Axes) -> None:
    ax.set(xlabel="variance of the weights, σ_w²", xlim=(0.8, 4.2), xticks=[1, 2, 3, 4])


def _fixed_point(ax: Axes, trials: pd.DataFrame, column: str, of: Callable[[MeanField], float]) -> None:
    _over_weights(ax)
    ax.plot(CURVE, [of(theory(w)) for w in CURVE], color=COLORS.muted, linewidth=1.0)
    for w in SIGNALS:
        values = per_seed(trials, column, part="signal", weight_variance=w).dropna()
        if len(values):
            middle, low, high = figures.over_seeds(np.array([np.mean(each) for each in values]))
            figures.interval(ax, w, middle, low, high, color=_phase(w))
    w = CURVE[-8]
    ax.annotate(
        "theory", (w, of(theory(w))), xytext=(6, -10), textcoords="offset points", color=COLORS.muted, fontsize=8
    )


def _phase(weight_variance: float) -> str:
    return COLORS.ink if weight_variance == EDGE else COLORS.accent if weight_variance < EDGE else COLORS.second


def _name_phases(ax: Axes) -> None:
    ax.axhline(1, color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.text(4.2, 0.985, "order: it dies out", color=COLORS.accent, fontsize=8, ha="right", va="top")
    ax.text(0.85, 1.02, "chaos: it grows", color=COLORS.second, fontsize=8, va="bottom")


def _correlations(ax: Axes, trials: pd.DataFrame) -> None:
    for w, named in SHOWN.items():
        color = _phase(w)
        for column, start in (("apart", 0.0), ("alike", 0.5)):
            curves = per_seed(trials, column, part="signal", weight_variance=w).dropna()
            if not len(curves):
                continue
            middle, low, high = figures.over_seeds(np.stack(list(curves)))
            layers = np.arange(len(middle))
            ax.fill_between(layers, low, high, color=color, alpha=0.25, linewidth=0)
            ax.plot(layers, middle, color=color)
            ax.plot(layers, theory(w).correlations(start, len(layers) - 1, 1.0), ":", color=COLORS.ink, linewidth=1.0)
            if column == "apart":
                at = min(named, len(middle) - 1)
                ax.annotate(
                    f"σ_w² = {w:g}",
                    (at, middle[at]),
                    xytext=(0, -6 if w < 4 else 8),
                    textcoords="offset points",
                    color=color,
                    fontsize=8,
                    va="top" if w < 4 else "bottom",
                )
    ax.set(title="Correlation of two inputs on their way", xlabel="layer", ylabel="c", ylim=(-0.05, 1.05))


def _depths(ax: Axes, trials: pd.DataFrame) -> None:
    _over_weights(ax)
    for part in (CURVE[:16], CURVE[16:]):
        ax.plot(part, [theory(w).correlation_depth for w in part], color=COLORS.muted, linewidth=1.0)
    for w in SIGNALS:
        values = per_seed(trials, "correlation_depth", part="signal", weight_variance=w).dropna()
        if w in away_from_the_edge() and len(values):
            middle, low, high = figures.over_seeds(values.to_numpy(float), log=True)
            figures.interval(ax, w, middle, low, high, color=_phase(w))
    ax.axvline(theory_edge(), color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.annotate(
        "edge of chaos",
        (theory_edge(), 90),
        xytext=(4, 0),
        textcoords="offset points",
        color=COLORS.muted,
        fontsize=8,
        va="top",
    )
    ax.set(title="Layers in which correlations settle", ylabel="ξ_c", yscale="log", ylim=(2.5, MOST_LAYERS))
    ax.set_yticks([3, 5, 10, 20, 50, 100], ["3", "5", "10", "20", "50", "100"])
    ax.minorticks_off()


def theory_edge() -> float:
    """Return σ_w² at which χ₁ is 1, between the curve's two parts.

    >>> round(theory_edge(), 2)
    1.76
    """
    from scipy.optimize import brentq

    return float(brentq(lambda w: theory(w).chi1 - 1, 1.7, 1.82, xtol=1e-4))


def _accuracies(ax: Axes, accuracies: pd.DataFrame, points: tuple[float, ...], *, in_units: bool) -> None:
    for w in points:
        if w not in accuracies.columns.get_level_values(0):
            continue
        table = accuracies[w]
        color, line = LINES[w]
        unit = theory(w).correlation_depth if in_units else 1.0
        depths = table.columns.to_numpy(float) / unit
        found = np.array([100 * figures.over_seeds(table[depth].dropna()) for depth in table.columns]).T
        ax.plot(depths, found[0], color=color, linestyle=line)
        figures.interval(ax, depths, *found, color=color)
        depth, shift, side = NAMED[in_units][w]
        if depth in table.columns:
            place = (depth / unit, found[0][list(table.columns).index(depth)])
            name = f"σ_w² = {w:g}" if w == 1 else f"{w:g}"
            ax.annotate(name, place, xytext=shift, textcoords="offset points", color=color, fontsize=8, ha=side)
    ax.axhline(100 * TRAINABLE, color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.set(ylim=(0, 104))
    ax.set_xlim(left=0)
