"""The picture of the order in which frequencies are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepscope.instruments._frequency_order import FrequencyOrder

#: Errors below this are drawn at it.
_LEAST = 1e-3


def plot_order(found: FrequencyOrder) -> Figure:
    """Draw the error of each band over the steps, the threshold, and where each stays below it."""
    figure, ax = figures.new(7.2, 3.2)
    with figures.style():
        ax.set_yscale("log")
        ax.set_ylabel("relative error")
        ax.set_xlabel("training step; a point is where a frequency's error stays below the dashed line")
        ax.axhline(found.threshold, color=figures.COLORS.muted, linewidth=0.9, linestyle=(0, (2, 1.5)))
        ranks = np.argsort(np.argsort(found.frequencies, kind="stable"), kind="stable")
        last = max(len(ranks) - 1, 1)
        for place, rank in enumerate(ranks):
            # One colour: the higher the frequency, the thinner and paler its line, so that grey paper tells them too.
            weight = 1 - rank / last
            curve = np.maximum(found.errors[:, place], _LEAST)
            ax.plot(
                found.steps, curve, color=figures.COLORS.accent, linewidth=0.8 + 1.4 * weight, alpha=0.4 + 0.6 * weight
            )
            step = found.learned[place]
            at, height = (step, found.threshold) if step is not None else (float(found.steps[-1]), float(curve[-1]))
            if step is not None:
                ax.plot([at], [height], "o", color=figures.COLORS.second, markersize=4, zorder=4)
            # Labels of neighbours stand at different heights.
            figures.direct_label(ax, at, height * (1.35 if rank % 2 else 1 / 1.35), found.names[place])
        span = float(found.steps[-1] - found.steps[0]) or 1.0
        ax.set_xlim(found.steps[0] - 0.01 * span, found.steps[-1] + 0.14 * span)
    return figure
