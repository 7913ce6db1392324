"""The picture of the order in which frequencies are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.instruments._label_places import apart

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
        curves = np.maximum(found.errors, _LEAST)
        for place, rank in enumerate(ranks):
            # One colour: the higher the frequency, the thinner and paler its line, so that grey paper tells them too.
            weight = 1 - rank / last
            look = {"linewidth": 0.8 + 1.4 * weight, "alpha": 0.4 + 0.6 * weight}
            ax.plot(found.steps, curves[:, place], color=figures.COLORS.accent, **look)
            step = found.learned[place]
            if step is not None:
                ax.plot([step], [found.threshold], "o", color=figures.COLORS.second, markersize=4, zorder=4)
        low, high = np.log10(ax.get_ylim())
        heights = apart(np.log10(curves[-1]).tolist(), 0.08 * (high - low), low + 0.04 * (high - low))
        for name, height in zip(found.names, heights, strict=True):
            figures.direct_label(ax, float(found.steps[-1]), 10**height, name)
        span = float(found.steps[-1] - found.steps[0]) or 1.0
        longest = max(len(name) for name in found.names)
        ax.set_xlim(found.steps[0] - 0.01 * span, found.steps[-1] + (0.03 + 0.0125 * longest) * span)
    return figure
