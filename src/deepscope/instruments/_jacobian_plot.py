"""The picture of a network's Jacobians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.instruments._log_axis import on_log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._jacobian_reading import Jacobian

_DASHES: Any = (0, (2, 1.5))
#: Singular values below this share of the largest are rounding.
_ROUNDING = 1e-6
#: Levels nearer than this factor would have their names on top of each other.
_APART = 1.1


def plot_jacobian(reading: Jacobian) -> Figure:
    """Draw χ and sensitivity by layer, the singular values of the samples, and Lyapunov exponents."""
    rows = 3 if reading.recurrent else 2
    figure, axes = figures.new(7.2, 2.7 * rows, rows=rows)
    with figures.style():
        _layers(axes[0], reading)
        _values(axes[1], reading)
        if reading.recurrent:
            _exponents(axes[2], reading)
    return figure


def _layers(ax: Axes, reading: Jacobian) -> None:
    figures.layer_axis(ax, [layer.name for layer in reading.layers])
    ax.set_ylabel("factor on a change")
    ax.set_title("what becomes of a small change of the input, layer by layer")
    drawn = False
    for column, color, shift, label in (
        ("sensitivity", figures.COLORS.accent, -0.12, "relative change, from the input to here"),
        ("chi", figures.COLORS.second, 0.12, "χ of the layer alone: mean squared singular value"),
    ):
        seen = [(x, each) for x, each in enumerate(reading.layers) if (getattr(each, column) or 0) > 0]
        if not seen:
            continue
        if not drawn:
            ax.set_yscale("log")
            drawn = True
        ends = [[getattr(each, f"{column}{end}") for _, each in seen] for end in ("", "_low", "_high")]
        middle, low, high = (
            np.array([np.nan if v is None else on_log_axis(max(v, 0.0)) for v in values]) for values in ends
        )
        low = np.fmax(low, middle / 10)
        places = np.array([x for x, _ in seen], dtype=float) + shift
        figures.interval(ax, places, middle, low, high, color=color)
        ax.plot(places, middle, color=color, linewidth=0.7, alpha=0.6)
        _corner(ax, label, color, 0.96 if column == "sensitivity" else 0.04)
    if not drawn:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no layer's Jacobian could be had", ha="center", va="center", transform=ax.transAxes)
        return
    _line(ax, 1, "1: proportions are kept", figures.COLORS.muted)
    # Room for the names above and below everything.
    bottom, top = ax.get_ylim()
    span = (top / bottom) ** 0.28
    ax.set_ylim(bottom / span, top * span)


def _corner(ax: Axes, text: str, color: str, height: float) -> None:
    """Name a series at the left, where there is room above or below everything."""
    va = "top" if height > 0.5 else "bottom"
    ax.text(0.01, height, text, color=color, fontsize=8, transform=ax.transAxes, va=va)


def _line(ax: Axes, value: float, text: str, color: str, *, above: bool = True) -> None:
    """Draw a level with its name at the right, above or below it."""
    ax.axhline(value, color=color, linewidth=0.9, linestyle=_DASHES)
    ax.annotate(
        text, xy=(1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2 if above else -2),
        textcoords="offset points", ha="right", va="bottom" if above else "top", color=color, fontsize=8,
    )  # fmt: skip


def _values(ax: Axes, reading: Jacobian) -> None:
    values = reading.singular_values
    ax.set_ylabel("singular value σ")
    ax.set_xlabel("singular value of the outputs' Jacobian, largest first")
    largest = float(values.max(initial=0.0))
    if not largest > 0:
        ax.set_yticks([])
        ax.text(0.5, 0.5, "the Jacobian is zero", ha="center", va="center", transform=ax.transAxes)
        return
    ax.set_yscale("log")
    shown = np.where(values > _ROUNDING * largest, values, np.nan)
    kept = ~np.isnan(shown).all(axis=0)
    places = np.arange(1, values.shape[1] + 1)[kept]
    shown = shown[:, kept]
    middle, low, high = (np.nanquantile(shown, q, axis=0) for q in (0.5, 0.05, 0.95))
    if len(places) > 1:
        ax.fill_between(places, low, high, color=figures.COLORS.accent, alpha=0.18, linewidth=0)
        ax.plot(places, middle, "o-", color=figures.COLORS.accent, markersize=2.5, linewidth=0.8)
    else:
        figures.interval(ax, places, middle, low, high)
    right = float(places[-1])
    ax.set_xlim(min(0.9, 1 - 0.04 * right), right * 1.04 + 0.1)
    _corner(ax, "median and 90 % of samples", figures.COLORS.accent, 0.04)
    at_samples = reading.lipschitz_at_samples
    _line(ax, on_log_axis(at_samples), "largest at a sample", figures.COLORS.accent, above=False)
    if reading.lipschitz_nearby is not None and reading.lipschitz_nearby > _APART * at_samples:
        _line(ax, on_log_axis(reading.lipschitz_nearby), "largest found nearby", figures.COLORS.second)
    if reading.lipschitz_bound is not None and reading.lipschitz_bound > _APART * at_samples:
        _line(ax, on_log_axis(reading.lipschitz_bound), "certified bound", figures.COLORS.muted)


def _exponents(ax: Axes, reading: Jacobian) -> None:
    ax.set_ylabel("Lyapunov exponent\n(nats per step)")
    ax.set_xlabel("exponent of the recurrent state, largest first")
    colors = (figures.COLORS.accent, figures.COLORS.second, figures.COLORS.third)
    for index, each in enumerate(reading.recurrent):
        color = colors[index % len(colors)]
        values = each.spectrum.exponents
        seen = np.isfinite(values)
        places = np.arange(1, len(values) + 1)[seen]
        if not len(places):
            continue
        figures.interval(ax, places, values[seen], each.spectrum.low[seen], each.spectrum.high[seen], color=color)
        name = " ".join(filter(None, (each.name, each.part)))
        figures.direct_label(ax, float(places[-1]), float(values[seen][-1]), name, color)
    left, right = ax.get_xlim()
    ax.set_xlim(left, right + 0.12 * (right - left))
    _line(ax, 0, "above: chaos, below: forgetting", figures.COLORS.muted)
