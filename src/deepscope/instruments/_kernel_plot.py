"""The picture of a tangent kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from deepscope.instruments._kernel_reading import Kernel

#: Eigenvalues below this share of the largest are rounding.
_ROUNDING = 1e-7


def plot_kernel(kernel: Kernel) -> Figure:
    """Draw the eigenvalues of the kernel summed over outputs; below, the share of the labels along them."""
    labelled = len(kernel.label_shares) > 0
    rows = 2 if labelled else 1
    figure, axes = figures.new(7.2, 2.6 * rows, rows=rows, squeeze=False, sharex=True)
    with figures.style():
        _spectrum(axes[0, 0], kernel)
        if labelled:
            _labels(axes[1, 0], kernel)
        axes[-1, 0].set_xlabel("eigenvector of the tangent kernel, largest eigenvalue first")
    return figure


def _spectrum(ax: Axes, kernel: Kernel) -> None:
    values = kernel.spectrum
    seen = values > _ROUNDING * max(float(values[0]), np.finfo(float).tiny)
    ax.set_ylabel("eigenvalue λ")
    ax.set_xscale("log")
    if not (seen.any() and values[0] > 0):
        ax.text(0.5, 0.5, "the kernel is zero", ha="center", va="center", transform=ax.transAxes)
        return
    ax.set_yscale("log")
    places = np.arange(1, len(values) + 1)[seen]
    ax.plot(places, values[seen], "o-", color=figures.COLORS.accent, markersize=2.5, linewidth=0.8)
    ax.set_xlim(0.9, len(values) * 1.3)


def _labels(ax: Axes, kernel: Kernel) -> None:
    shares = np.cumsum(kernel.label_shares)
    power = np.cumsum(np.clip(kernel.spectrum, 0, None)) / max(kernel.spectrum.clip(0).sum(), np.finfo(float).tiny)
    places = np.arange(1, len(shares) + 1)
    ax.set_ylabel("share up to here")
    ax.set_ylim(-0.03, 1.06)
    ax.plot(places, power, color=figures.COLORS.muted, linewidth=0.9, linestyle=(0, (2, 1.5)))
    ax.plot(places, shares, color=figures.COLORS.second)
    # Each named where it is halfway up, the kernel above its line and the labels below theirs.
    for values, text, color, lift in (
        (power, "kernel", figures.COLORS.muted, 0.1),
        (shares, "labels", figures.COLORS.second, -0.1),
    ):
        at = int(np.searchsorted(values, 0.5).clip(0, len(values) - 1))
        figures.direct_label(ax, places[at], float(np.clip(values[at] + lift, 0, 1)), text, color)
