"""The picture of spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.instruments._log_axis import FARTHEST, on_log_axis
from deepscope.instruments._spectrum_row import WeightSpectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = 6
_POINTS = 120


def plot_spectrum(weights: Sequence[WeightSpectrum], eigenvalues: Mapping[str, NDArray[Any]]) -> Figure:
    """Draw α by layer, and below it the tails of up to six layers from the smallest to the largest α."""
    shown = _telling(weights)
    panel_rows = -(-len(shown) // 3)
    figure, axes = figures.new(
        7.2,
        2.6 + 1.9 * panel_rows,
        rows=1 + panel_rows,
        cols=3,
        squeeze=False,
        height_ratios=[1.35] + [1.0] * panel_rows,
    )
    grid = axes[0, 0].get_gridspec()
    for ax in axes[0]:
        ax.remove()
    with figures.style():
        _exponents(figure.add_subplot(grid[0, :]), weights)
    for place, ax in enumerate(axes[1:].flat):
        if place >= len(shown):
            ax.remove()
            continue
        with figures.style():
            _tail(ax, shown[place], eigenvalues[shown[place].name])
        if place % 3 == 0:
            ax.set_ylabel("share above λ")
        if place + 3 >= len(shown):
            ax.set_xlabel("eigenvalue λ of WᵀW")
    return figure


def _telling(weights: Sequence[WeightSpectrum]) -> list[WeightSpectrum]:
    """Pick layers at even steps of the order of α: the heaviest tail, the lightest, and some between."""
    fitted = sorted((each for each in weights if each.alpha is not None), key=lambda each: each.alpha or 0.0)
    if not fitted:
        return []
    return [fitted[place] for place in np.unique(np.linspace(0, len(fitted) - 1, _PANELS).round().astype(int))]


def _exponents(ax: Axes, weights: Sequence[WeightSpectrum]) -> None:
    figures.layer_axis(ax, [each.name for each in weights])
    ax.set_ylabel("tail exponent α")
    fitted = [(x, w.alpha, *w.interval) for x, w in enumerate(weights) if w.alpha is not None]
    if not fitted:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no tail could be fitted", ha="center", va="center", transform=ax.transAxes)
        return
    x, alpha, low, high = np.array(fitted, dtype=float).T
    if max(alpha.max(), high.max()) > 12:
        # Matrices of noise have exponents in the tens; a log axis keeps the small ones apart.
        ax.set_yscale("log")
        low = np.maximum(low, 1.0)
        ticks = [t for t in (1, 2, 3, 4, 6, 10, 20, 50, 100, 200, 500, 1000) if t <= 1.3 * high.max()]
        ax.set_yticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
    figures.band(ax, 2.0, 6.0)
    # Beside the exponent, where that of noise of the same shape lies.
    ax.plot(*_nulls(weights), color=figures.COLORS.muted, linewidth=0.8, zorder=1)
    figures.interval(ax, x, alpha, low, high)


def _nulls(weights: Sequence[WeightSpectrum]) -> NDArray[np.float64]:
    """Return all lines as one path, [2, 3 n], with gaps: a thousand layers stay a small picture."""
    lines = [
        ([at + 0.18] * 2 + [np.nan], [w.null_alpha_low, w.null_alpha_high, np.nan])
        for at, w in enumerate(weights)
        if w.alpha is not None and w.null_alpha_low is not None
    ]
    return np.hstack([np.empty((2, 0)), *(np.array(line, dtype=float) for line in lines)])


def _tail(ax: Axes, weight: WeightSpectrum, eigenvalues: NDArray[Any]) -> None:
    positive = np.clip(eigenvalues[eigenvalues > 0], 1 / FARTHEST, FARTHEST)
    n = positive.size
    # Even steps in the logarithm of the rank from above: every large eigenvalue, few of the bulk.
    ranks = np.unique(np.geomspace(1, n, _POINTS).round().astype(int))
    ax.loglog(positive[n - ranks], ranks / n, "o", color=figures.COLORS.accent, markersize=2, markeredgewidth=0)
    if weight.alpha is not None and weight.x_min is not None and weight.n_tail is not None:
        ends = np.array([on_log_axis(weight.x_min), positive[-1]])
        share = weight.n_tail / n * (ends / ends[0]) ** (1 - weight.alpha)
        ax.plot(ends, share, color=figures.COLORS.second)
    if weight.mp_upper is not None:
        edge = on_log_axis(weight.mp_upper)
        ax.axvline(edge, color=figures.COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)))
        _edge_label(ax, edge)
    # The far left of the bulk is near 0 and would squeeze the tail into a corner.
    ax.set_xlim(left=max(positive[0], positive[-1] * 1e-4) * 0.8, right=positive[-1] * 1.6)
    ax.set_ylim(0.5 / n, 2.0)
    _plain_ticks(ax)
    title = weight.name if len(weight.name) <= 26 else f"…{weight.name[-25:]}"
    low, high = weight.interval
    ax.set_title(f"{title}\nα = {weight.alpha:.2f} ({low:.2f} to {high:.2f})", parse_math=False)


def _plain_ticks(ax: Axes) -> None:
    """Few ticks along λ, also where it spans less than a decade; only decades along the share."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_xlim()
    narrow = high / low < 30
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=5))
    if narrow:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())


def _edge_label(ax: Axes, edge: float) -> None:
    ax.annotate(
        "random edge",
        xy=(edge, 0.98),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        rotation=90,
        fontsize=6.5,
        color=figures.COLORS.muted,
    )
