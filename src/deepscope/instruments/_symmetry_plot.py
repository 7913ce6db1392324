"""The picture of a network's symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.instruments._symmetry_scores import SymmetryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._symmetry_reading import FamilySymmetry, Symmetry

#: More families than these are not drawn.
_MOST = 4
_COLORS = {
    "exact": figures.COLORS.good,
    "should follow": figures.COLORS.accent,
    "should stay": figures.COLORS.second,
}


def plot_symmetry(symmetry: Symmetry) -> Figure:
    """Draw a family's error by layer and at the output, with its interval, beside that of random weights."""
    shown = symmetry.families[:_MOST]
    figure, axes = figures.new(7.2, 0.9 + 1.9 * len(shown), rows=len(shown), squeeze=False, sharex=True, sharey=True)
    with figures.style():
        drawn = [_family(ax, family) for ax, family in zip(axes[:, 0], shown, strict=True)]
        figures.layer_axis(axes[-1, 0], [*(layer.name for layer in symmetry.layers), "output"])
        first = axes[0, 0]
        # Distances, the roots of what is written beside the ticks, are even on this axis.
        first.set_yscale("function", functions=(_root, _square))
        first.set_ylim(-0.0006, min(max(1.3, first.get_ylim()[1]), 2.5))
        first.set_yticks([0, 0.01, 0.1, 0.4, 1.0], ["0", "0.01", "0.1", "0.4", "as another\nsample: 1"])
        labels = [label for label in _COLORS if any(label in each for each in drawn)]
        _names(first, labels, with_baseline=symmetry.n_networks > 0)
    return figure


def _family(ax: Axes, family: FamilySymmetry) -> set[str]:
    """Draw a family and return what kinds of points there are."""
    followed = [layer.equivariance.value is not None for layer in family.layers]
    errors = [
        layer.equivariance if follows else layer.invariance
        for layer, follows in zip(family.layers, followed, strict=True)
    ]
    errors, followed = [*errors, family.output], [*followed, family.kind == "equivariance"]
    ax.set_title(family.name, parse_math=False)
    ax.set_ylabel("distance²\nfrom symmetric")
    ax.axhline(1.0, color=figures.COLORS.muted, linewidth=0.7, linestyle=(0, (2, 1.5)))
    _baseline(ax, errors)
    kinds = [
        "exact" if each.is_exact else "should follow" if follows else "should stay"
        for each, follows in zip(errors, followed, strict=True)
    ]
    for kind, color in _COLORS.items():
        points = [x for x, each in enumerate(errors) if kinds[x] == kind and each.value is not None]
        values = np.array([errors[x].value for x in points], dtype=float)
        ends = [errors[x].interval or (np.nan, np.nan) for x in points]
        if points:
            low, high = zip(*ends, strict=True)
            figures.interval(ax, points, values, low, high, color=color, label=kind)
    if all(each.value is None for each in errors):
        ax.text(0.5, 0.4, family.output.status, ha="center", transform=ax.transAxes, color=figures.COLORS.muted)
    return {kind for kind, each in zip(kinds, errors, strict=True) if each.value is not None}


def _baseline(ax: Axes, errors: Sequence[SymmetryError]) -> None:
    """Shade where one more network with random weights lies, or mark their mean where there is no range."""
    known = [(x, each) for x, each in enumerate(errors) if each.baseline is not None]
    places = np.array([x for x, _ in known], dtype=float)
    ranges = [
        (each.baseline, each.baseline) if each.baseline_low is None else (each.baseline_low, each.baseline_high)
        for _, each in known
    ]
    if not known:
        return
    low, high = np.array(ranges, dtype=float).T
    # One path for all bars keeps a thousand layers small; a range that is a point is still to be seen.
    corners = np.column_stack(
        [places - 0.36, places - 0.36, places + 0.36, places + 0.36, np.full(len(places), np.nan)]
    )
    bottom = np.column_stack([low, low, low, low, np.full(len(places), np.nan)])
    top = np.column_stack([np.maximum(high, (np.sqrt(low) + 0.015) ** 2)] * 4 + [np.full(len(places), np.nan)])
    ax.fill_between(
        corners.ravel(), bottom.ravel(), top.ravel(), color=figures.COLORS.muted, alpha=0.28, linewidth=0, zorder=1
    )


def _names(ax: Axes, labels: Sequence[str], *, with_baseline: bool) -> None:
    """Name the marks in the line of the title, from the right."""
    named = [(f"● {label}", _COLORS[label]) for label in labels]
    named += [("■ random weights (95 %)", figures.COLORS.muted)] if with_baseline else []
    place = 1.0
    for text, color in reversed(named):
        ax.text(place, 1.04, text, color=color, transform=ax.transAxes, ha="right", va="bottom", fontsize=8)
        place -= 0.0105 * len(text) + 0.03


def _root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.sqrt(np.abs(values))


def _square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.square(values)
