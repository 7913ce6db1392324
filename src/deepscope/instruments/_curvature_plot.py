"""The picture of a curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.instruments._curvature_row import size_of_traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._curvature_reading import Curvature

#: Densities below this share of the highest are not drawn: the kernel's tails say nothing.
_FLOOR = 1e-7


def plot_curvature(found: Curvature) -> Figure:
    """Draw the density of eigenvalues with those at its ends; below, each layer's share of the curvature."""
    figure, (above, below) = figures.new(7.2, 5.0, rows=2, height_ratios=[1.4, 1.0])
    with figures.style():
        _spectrum(above, found)
        _shares(below, found)
    return figure


def _spectrum(ax: Axes, found: Curvature) -> None:
    ends = np.concatenate([found.eigenvalues, found.lowest])
    low, high = float(min(ends.min(), 0.0)), float(max(ends.max(), 0.0))
    density = found.density
    ax.set_xlabel("eigenvalue")
    if density is not None:
        top = float(density.value.max())
        floor = top * _FLOOR
        shown = density.value > floor
        curve = np.where(shown, density.value, np.nan)
        ax.set_yscale("log")
        ax.fill_between(
            density.grid,
            np.where(shown, np.maximum(density.low, floor), np.nan),
            np.where(shown, density.high, np.nan),
            color=figures.COLORS.accent,
            alpha=0.25,
            linewidth=0,
        )
        ax.plot(density.grid, curve, color=figures.COLORS.accent)
        ax.set_ylim(floor, 5 * top)
        ax.set_ylabel("density")
        low, high = min(low, float(density.grid[0])), max(high, float(density.grid[-1]))
    else:
        ax.set_yticks([])
    ax.vlines(ends, 0.0, 0.12, transform=ax.get_xaxis_transform(), color=figures.COLORS.second, linewidth=1.2)
    ax.axvline(0.0, color=figures.COLORS.muted, linewidth=0.6)
    margin = 0.04 * (high - low) or 1.0
    ax.set_xlim(low - margin, high + margin)
    stderr = f" ± {found.trace_stderr:.2g}" if found.trace_stderr else ""
    trace = "" if found.trace is None else f", trace {found.trace:.4g}{stderr}"
    ax.set_title(
        f"largest {found.eigenvalues[0]:.3g} ± {found.errors[0]:.1g}{trace}",
        parse_math=False,
    )


def _shares(ax: Axes, found: Curvature) -> None:
    figures.layer_axis(ax, [each.name for each in found.layers])
    ax.set_ylabel("share")
    rows = [(x, each) for x, each in enumerate(found.layers) if each.curvature_fraction is not None]
    sizes = np.array([each.parameters / found.n_parameters for each in found.layers])
    ax.plot(np.arange(len(sizes)), sizes, "o", color=figures.COLORS.muted, markersize=3.5, markeredgewidth=0)
    figures.direct_label(ax, len(sizes) - 1, sizes[-1], "of parameters", figures.COLORS.muted)
    if not rows:
        return
    total = size_of_traces(found.layers)
    x = np.array([place for place, _ in rows])
    share = np.array([each.curvature_fraction for _, each in rows], dtype=float)
    half = 1.96 * np.array([each.trace_stderr for _, each in rows]) / total
    figures.interval(ax, x, share, share - half, share + half, label="of curvature")
    beside = share[-1]
    if abs(beside - sizes[-1]) < 0.08:
        beside = sizes[-1] + (0.08 if beside >= sizes[-1] else -0.08)
    figures.direct_label(ax, x[-1], beside, "of curvature", figures.COLORS.accent)
