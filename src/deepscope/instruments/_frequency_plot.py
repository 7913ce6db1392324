"""The picture of a network's frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.instruments._label_places import apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._frequency_reading import Frequency
    from deepscope.instruments._frequency_row import LineFrequencies

#: Powers below this share of all are rounding.
_ROUNDING = 1e-9


def plot_frequency(reading: Frequency) -> Figure:
    """Draw mean frequencies by layer and the output's spectrum; with targets, low shares and errors by filter."""
    rows = 4 if reading.bands else 2
    figure, axes = figures.new(7.2, 2.3 * rows, rows=rows)
    with figures.style():
        _layers(axes[0], reading)
        _spectra(axes[1], reading)
        if reading.bands:
            _shares(axes[2], reading)
            _errors(axes[3], reading)
    return figure


def _layers(ax: Axes, reading: Frequency) -> None:
    figures.layer_axis(ax, [each.name for each in reading.layers])
    ax.set_ylabel("mean frequency\n(cycles per line)")
    seen = [(x, each) for x, each in enumerate(reading.layers) if each.centroid is not None]
    if not seen:
        _nothing(ax, "no layer varies along the lines")
        return
    middle, low, high = (
        np.array([getattr(each, name) for _, each in seen], dtype=float)
        for name in ("centroid", "centroid_low", "centroid_high")
    )
    figures.interval(ax, [x for x, _ in seen], middle, low, high)
    ax.set_ylim(bottom=0)


def _spectra(ax: Axes, reading: Frequency) -> None:
    ax.set_ylabel("share of variance")
    ax.set_xlabel(f"frequency (cycles per line of length {reading.length:.3g}; {reading.lines})")
    rows = (
        ("output", reading.output, figures.COLORS.accent),
        ("target", reading.target, figures.COLORS.muted),
        ("error", reading.error, figures.COLORS.second),
    )
    drawn = [(name, row, color) for name, row, color in rows if row is not None and len(row.spectrum)]
    if not drawn:
        _nothing(ax, "the output does not vary along the lines" if reading.output else "no output to measure")
        return
    ax.set_yscale("log")
    for place, (name, row, color) in enumerate(drawn):
        _spectrum(ax, row, color)
        middle = len(row.spectrum) * (place + 1) // (len(drawn) + 2)
        figures.direct_label(ax, middle, max(row.spectrum[middle], _ROUNDING) * 2, name, color)
    ax.set_ylim(bottom=max(ax.get_ylim()[0], _ROUNDING))
    ax.set_xlim(-0.5, len(reading.frequencies) - 0.5)
    ax.axvline(reading.cutoff, color=figures.COLORS.muted, linewidth=0.8, linestyle=(0, (2, 1.5)))
    low, high = ax.get_ylim()
    figures.direct_label(ax, reading.cutoff, high * (low / high) ** 0.05, "high from here", figures.COLORS.muted)


def _spectrum(ax: Axes, row: LineFrequencies, color: str) -> None:
    places, values = np.arange(len(row.spectrum)), np.maximum(row.spectrum, _ROUNDING / 10)
    ax.plot(places, values, "o-", color=color, markersize=2.5, linewidth=0.9)
    if len(row.spectrum_stderr):
        half = 1.96 * row.spectrum_stderr
        low, high = np.maximum(row.spectrum - half, _ROUNDING / 10), np.maximum(row.spectrum + half, _ROUNDING / 10)
        ax.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)


def _shares(ax: Axes, reading: Frequency) -> None:
    ax.set_xscale("log")
    ax.set_ylabel("smooth share\nof variance")
    ax.set_ylim(-0.03, 1.1)
    labels: list[tuple[float, str, str]] = []
    widths = np.array([band.width for band in reading.bands])
    noise = [share.null_mean for band in reading.bands if (share := band.target) is not None]
    if len(noise) == len(widths):
        ax.plot(widths, noise, color=figures.COLORS.muted, linestyle=(0, (2, 1.5)), linewidth=0.9)
        labels.append((noise[0], "noise", figures.COLORS.muted))
    for name, color, shift in (("target", figures.COLORS.accent, 0.99), ("error", figures.COLORS.second, 1.01)):
        seen = [(band.width, share) for band in reading.bands if (share := getattr(band, name)) is not None]
        if seen:
            x, y = np.array([width for width, _ in seen]) * shift, np.array([share.value for _, share in seen])
            half = np.array([1.96 * (share.stderr or 0.0) for _, share in seen])
            ax.plot(x, y, color=color, linewidth=0.8)
            figures.interval(ax, x, y, y - half, y + half, color=color)
            labels.append((float(y[0]), name, color))
    low, _ = _width_axis(ax, reading)
    for height, (_, name, color) in zip(apart([each[0] for each in labels], 0.11, 0.02), labels, strict=True):
        figures.direct_label(ax, low, height, name, color)


def _errors(ax: Axes, reading: Frequency) -> None:
    ax.set_ylabel("relative error")
    labels: list[tuple[float, str, str]] = []
    for name, words, color, shift in (
        ("e_low", "smooth part", figures.COLORS.accent, 0.99),
        ("e_high", "the rest", figures.COLORS.second, 1.01),
    ):
        seen = [band for band in reading.bands if getattr(band, name) is not None]
        if not seen:
            continue
        x = np.array([band.width for band in seen]) * shift
        y = np.array([getattr(band, name) for band in seen])
        half = np.array([1.96 * (getattr(band, f"{name}_stderr") or 0.0) for band in seen])
        ax.plot(x, y, color=color, linewidth=0.8)
        figures.interval(ax, x, y, np.maximum(y - half, 0), y + half, color=color)
        labels.append((float(y[-1]), words, color))
    if not labels:
        _nothing(ax, reading.read_as)
        return
    ax.set_xscale("log")
    ax.axhline(1.0, color=figures.COLORS.muted, linewidth=0.9, linestyle=(0, (2, 1.5)))
    top = max(1.2, ax.get_ylim()[1])
    ax.set_ylim(bottom=-0.03 * top, top=top)
    low, high = _width_axis(ax, reading)
    figures.direct_label(ax, low, 1 + 0.06 * top, "one answer for all", figures.COLORS.muted)
    for height, (_, words, color) in zip(apart([each[0] for each in labels], 0.1 * top, 0.02), labels, strict=True):
        figures.direct_label(ax, high, height, words, color)
    ax.set_xlabel("width δ of the filter (distance between inputs): smooth is what its averages keep")


def _width_axis(ax: Axes, reading: Frequency) -> tuple[float, float]:
    """Lay out the axis of widths, with room for labels on both sides; return where these begin."""
    from matplotlib.ticker import NullFormatter, NullLocator

    widths = [band.width for band in reading.bands]
    ax.set_xticks(widths, [f"{width:.3g}" for width in widths])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    span = max(np.log(widths[-1] / widths[0]), 0.5)
    low, high = widths[0] * np.exp(-0.16 * span), widths[-1] * np.exp(0.02 * span)
    ax.set_xlim(low, high * np.exp(0.17 * span))
    return float(low), float(high)


def _nothing(ax: Axes, why: str) -> None:
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=figures.COLORS.muted)
