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

#: Errors below this are drawn here: float accuracy, or exactly 0.
_FLOOR = 1e-9
#: More families than these are not drawn.
_MOST = 4


def plot_symmetry(symmetry: Symmetry) -> Figure:
    """Draw a family's error by layer and at the output, with its interval, beside that of random weights."""
    shown = symmetry.families[:_MOST]
    figure, axes = figures.new(7.2, 0.8 + 2.0 * len(shown), rows=len(shown), squeeze=False, sharex=True, sharey=True)
    names = [*(layer.name for layer in symmetry.layers), "output"]
    with figures.style():
        for ax, family in zip(axes[:, 0], shown, strict=True):
            _family(ax, family)
        figures.layer_axis(axes[-1, 0], names)
        axes[0, 0].set_yscale("log")
        axes[0, 0].set_ylim(_FLOOR / 3, 30)
        axes[0, 0].set_yticks([1e-9, 1e-6, 1e-3, 1.0], ["≤ 1e−9", "1e−6", "0.001", "1"])
    return figure


def _family(ax: Axes, family: FamilySymmetry) -> None:
    followed = [layer.equivariance.value is not None for layer in family.layers] + [family.kind == "equivariance"]
    errors = [
        *(
            layer.equivariance if follows else layer.invariance
            for layer, follows in zip(family.layers, followed, strict=False)
        ),
        family.output,
    ]
    ax.set_title(family.name, parse_math=False)
    ax.set_ylabel("error\n(1: another sample)")
    ax.axhline(1.0, color=figures.COLORS.muted, linewidth=0.7, linestyle=(0, (2, 1.5)))
    _baseline(ax, errors)
    drawn = []
    for is_followed, label, color in (
        (True, "follows", figures.COLORS.accent),
        (False, "unchanged", figures.COLORS.second),
    ):
        points = [(x, each) for x, (each, f) in enumerate(zip(errors, followed, strict=True)) if f == is_followed]
        points = [(x, each) for x, each in points if each.value is not None]
        if points:
            middle, low, high = _ends([each for _, each in points])
            figures.interval(ax, [x for x, _ in points], middle, low, high, color=color, label=label)
            drawn.append((label, color))
    if not drawn:
        ax.text(0.5, 0.5, family.output.status, ha="center", va="center", transform=ax.transAxes)
    for place, (label, color) in enumerate(
        [*((f"● should {'follow' if label == 'follows' else 'stay unchanged'}", color) for label, color in drawn),
         *([("▬ random weights", figures.COLORS.muted)] if any(each.baseline is not None for each in errors) else [])]
    ):  # fmt: skip
        ax.text(
            0.99 - 0.2 * place, 1.02, label, color=color, transform=ax.transAxes, ha="right", va="bottom", fontsize=8
        )


def _baseline(ax: Axes, errors: Sequence[SymmetryError]) -> None:
    for x, each in enumerate(errors):
        if each.baseline is not None:
            ends = (each.baseline_low, each.baseline_high)
            low, high = (each.baseline if end is None else end for end in ends)
            # A range that is a point on this axis is still to be seen.
            low, high = max(low, _FLOOR) / 1.25, max(high, _FLOOR) * 1.25
            ax.fill_between([x - 0.35, x + 0.35], low, high, color=figures.COLORS.muted, alpha=0.3, linewidth=0)


def _ends(errors: Sequence[SymmetryError]) -> tuple[NDArray[np.float64], ...]:
    rows = [
        (each.value, *(each.interval if each.interval is not None else (each.value, each.value))) for each in errors
    ]
    return tuple(np.maximum(np.array(rows, dtype=float), _FLOOR).T)
