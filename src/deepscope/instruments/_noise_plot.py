"""The picture of the noise of gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._noise_reading import Noise


def plot_noise(noise: Noise) -> Figure:
    """Draw |g|²/tr Σ by layer with its interval; below, the samples' gradient norms in order of size."""
    figure, (above, below) = figures.new(7.2, 5.0, rows=2)
    with figures.style():
        figures.layer_axis(above, [layer.name for layer in noise.layers])
        _ratios(above, noise)
        _norms(below, noise)
    return figure


def _ratios(ax: Axes, noise: Noise) -> None:
    ax.set_ylabel("signal to noise\nof one sample")
    seen = [(x, each) for x, each in enumerate(noise.layers) if (each.signal_to_noise or 0) > 0]
    if not seen:
        ax.set_yticks([])
        why = noise.status if noise.status != "ok" else "no layer's mean gradient stands out of the noise"
        ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=figures.COLORS.muted)
        return
    ax.set_yscale("log")
    middle = np.array([each.signal_to_noise for _, each in seen], dtype=float)
    low, high = (
        np.array([np.nan if end is None else end for end in ends], dtype=float)
        for ends in zip(*((each.signal_to_noise_low, each.signal_to_noise_high) for _, each in seen), strict=True)
    )
    # An interval that holds 0 has no lower end on a log axis: it is drawn down to a tenth of the value.
    figures.interval(ax, [x for x, _ in seen], middle, np.fmax(low, middle / 10), high)
    if noise.batch_size:
        ax.axhline(1 / noise.batch_size, color=figures.COLORS.second, linewidth=0.9, linestyle=(0, (2, 1.5)))
        label = f"equal in a batch of {noise.batch_size}"
        figures.direct_label(ax, -0.5, 1.15 / noise.batch_size, label, figures.COLORS.second)


def _norms(ax: Axes, noise: Noise) -> None:
    norms = np.sort(noise.per_sample_norms)[::-1]
    norms = norms[norms > 0]
    ax.set_ylabel("gradient norm")
    ax.set_xlabel("sample, largest gradient first")
    if not len(norms):
        ax.set_yticks([])
        return
    ax.set_yscale("log")
    ax.plot(np.arange(1, len(norms) + 1), norms, color=figures.COLORS.accent)
    if noise.gradient_norm > 0:
        ax.axhline(noise.gradient_norm, color=figures.COLORS.muted, linewidth=0.9, linestyle=(0, (2, 1.5)))
        # Where the curve has fallen away from it.
        figures.direct_label(ax, 0.8 * len(norms), 1.8 * noise.gradient_norm, "their mean's", figures.COLORS.muted)
