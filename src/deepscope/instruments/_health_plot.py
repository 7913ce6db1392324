"""The picture of a network's health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.instruments._health_profile import DepthProfile
from deepscope.instruments._health_row import LayerHealth
from deepscope.instruments._log_axis import FARTHEST, on_log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_health(layers: Sequence[LayerHealth], weights: DepthProfile, outputs: DepthProfile) -> Figure:
    """Draw gradient norms with intervals and the fitted rate; below, shares of dead and saturated units."""
    figure, (above, below) = figures.new(7.2, 5.0, rows=2, height_ratios=[1.5, 1.0], sharex=True)
    names = [layer.name for layer in layers]
    with figures.style():
        figures.layer_axis(below, names)
        _gradients(above, layers, weights, outputs)
        _shares(below, layers)
    return figure


def _gradients(ax: Axes, layers: Sequence[LayerHealth], weights: DepthProfile, outputs: DepthProfile) -> None:
    ax.set_ylabel("gradient norm")
    of_weights = [(x, each.gradient_norm, each.gradient_norm_stderr) for x, each in enumerate(layers)]
    of_weights = [point for point in of_weights if point[1]]
    if not of_weights:
        _nothing(ax, "no gradients")
        return
    ax.set_yscale("log")
    x, norm, stderr = np.array(of_weights, dtype=float).T
    norm, stderr = np.clip(norm, 1 / FARTHEST, FARTHEST), np.minimum(stderr, FARTHEST)
    low = norm - 1.96 * stderr
    # An interval that holds 0 has no lower end on a log axis: it is drawn down to a tenth of the norm.
    figures.interval(ax, x, norm, np.maximum(low, norm / 10), norm + 1.96 * stderr, label="parameters")
    figures.direct_label(ax, x[-1], norm[-1], "parameters", figures.COLORS.accent)
    _line(ax, layers, outputs, away_from=norm[-1])
    ax.margins(y=0.15)


def _line(ax: Axes, layers: Sequence[LayerHealth], profile: DepthProfile, *, away_from: float) -> None:
    points = [(x, each.output_gradient) for x, each in enumerate(layers) if each.in_profile]
    seen = [(x, on_log_axis(value)) for x, value in points if value]
    if not seen:
        return
    x, value = np.array(seen, dtype=float).T
    color = figures.COLORS.second
    ax.plot(x, value, color=color, linewidth=0.9, linestyle=(0, (2, 1.5)))
    bottom, top = np.log10(ax.get_ylim())
    line = 0.07 * (top - bottom)
    beside = min(np.log10(value[-1]), np.log10(away_from) - line) if value[-1] < away_from else np.log10(value[-1])
    if 0 <= beside - np.log10(away_from) < line:
        beside = np.log10(away_from) + line
    figures.direct_label(ax, x[-1], 10**beside, "at its output", color)
    if profile.rate is not None and profile.intercept is not None:
        places = np.arange(len(points))
        ends = [0, -1] if len(points) > 2 else list(places)
        height = 10.0 ** np.clip(profile.intercept + profile.rate * places[ends], -100.0, 100.0)
        # Places count layers with weight matrices only, so the straight line bends where others stand between them.
        ax.plot([points[end][0] for end in ends], height, color=color, linewidth=1.0, alpha=0.7)
        ax.set_title(f"{profile.verdict}: × {10.0**-profile.rate:.3g} per layer toward the input", parse_math=False)
    else:
        ax.set_title(f"{profile.verdict}: {profile.status}", parse_math=False)


def _shares(ax: Axes, layers: Sequence[LayerHealth]) -> None:
    ax.set_ylabel("share of units")
    ax.set_ylim(-0.05, 1.05)
    drawn = False
    for label, values, color in (
        ("dead", [each.dead_fraction for each in layers], figures.COLORS.problem),
        ("saturated", [each.saturated_fraction for each in layers], figures.COLORS.third),
    ):
        points = [(x, value) for x, value in enumerate(values) if value is not None]
        if not points:
            continue
        drawn = True
        x, share = np.array(points, dtype=float).T
        # One path for all stems keeps a thousand layers small.
        gap = np.full(len(x), np.nan)
        stems = np.column_stack([0 * share, share, gap]).ravel()
        ax.plot(np.column_stack([x, x, gap]).ravel(), stems, color=color, linewidth=0.8, alpha=0.6)
        ax.plot(x, share, "o", color=color, markersize=3.5 if len(x) <= 200 else 2.0, markeredgewidth=0, label=label)
        figures.direct_label(ax, x[-1], share[-1], label, color)
    if not drawn:
        _nothing(ax, "no activation function that can die or saturate")


def _nothing(ax: Axes, why: str) -> None:
    ax.set_yticks([])
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=figures.COLORS.muted)
