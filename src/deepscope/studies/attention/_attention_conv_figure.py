"""The picture of attention as convolution: exactness, the bound of fewer heads, and where heads look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.attention._kernels import KERNELS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = dict(zip(KERNELS, (("Gaussian", COLORS.second), ("orthogonal", COLORS.accent)), strict=True))
_PIXELS = {"in place": COLORS.accent, "permuted": COLORS.second}


def draw(trials: pd.DataFrame) -> Figure:
    """Draw the error by locality, by number of heads, where nine heads look, and how many pixels heads read."""
    figure, axes = figures.new(7.2, 6.4, rows=2, cols=2)
    with figures.style():
        _by_locality(axes[0, 0], trials)
        _by_heads(axes[0, 1], trials)
        _places(axes[1, 0], trials)
        _digits(axes[1, 1], trials)
    return figure


def _by_locality(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="K² heads written from a kernel", xlabel="α, how narrowly heads look", ylabel="largest difference")
    ax.set_yscale("log")
    ax.set_xlim(0, 50)
    for column, size, label, height, color in (
        ("borderless", 3, "no zeros around the image", 12.0, COLORS.second),
        ("error", 3, "3 × 3", 3e-5, COLORS.accent),
        ("error", 5, "5 × 5", 8e-7, COLORS.third),
    ):
        rows = per_seed(trials, column, part="expression", size=size)
        if rows.empty:
            continue
        localities = per_seed(trials, "locality", part="expression", size=size).iloc[0]
        middle, low, high = figures.over_seeds(np.maximum(np.stack(list(rows)), 1e-17), log=True)
        figures.interval(ax, localities, middle, low, high, color=color)
        ax.plot(localities, middle, color=color, linewidth=0.9)
        ax.text(20, height, label, color=color, fontsize=8)
    alphas = np.array([5.0, 37.0])
    ax.plot(alphas, np.exp(-alphas), ":", color=COLORS.ink)
    ax.text(4, 1e-13, "dotted: exp(−α)", color=COLORS.ink, fontsize=8)
    ax.set_ylim(1e-17, 1e3)


def _by_heads(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Heads fitted to kernels of 3 × 3", xlabel="heads", ylabel="error over size of the kernel")
    for kernel, (label, color) in _LOOKS.items():
        chosen = trials[(trials["part"] == "heads") & (trials["kernel"] == kernel)]
        heads = sorted({int(each) for each in chosen["heads"]})
        if not heads:
            continue
        sizes = [per_seed(trials, "norm", part="heads", kernel=kernel, heads=each) for each in heads]
        means = {
            name: np.array(
                [
                    figures.over_seeds(per_seed(trials, name, part="heads", kernel=kernel, heads=each) / size)
                    for each, size in zip(heads, sizes, strict=True)
                ]
            ).T
            for name in ("fitted", "bound", "unfitted")
        }
        ax.plot(heads, means["bound"][0], color=color, linewidth=0.9)
        figures.interval(ax, heads, *means["fitted"], color=color)
        ax.plot(heads, means["unfitted"][0], ":", color=color, linewidth=0.9)
        low = 0.13 if kernel == "gaussian" else 0.05
        ax.text(0.04, low, f"{label} kernels", color=color, transform=ax.transAxes, fontsize=8)
    without = per_seed(trials, "without", part="positions")
    if not without.empty:
        figures.interval(ax, 9, *figures.over_seeds(without), color=COLORS.ink)
        ax.annotate(
            "9 without positions", (9, without.mean()), (2, 8), textcoords="offset points", ha="right", fontsize=8
        )
    ax.text(0.04, 0.88, "dotted: random places", transform=ax.transAxes, fontsize=8)
    ax.text(0.04, 0.21, "lines: least possible", transform=ax.transAxes, fontsize=8)
    ax.set_xticks([2, 4, 6, 8, 9])
    ax.set_ylim(-0.05, 1.15)


def _places(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Where nine fitted heads look", xlabel="pixels to the right", ylabel="pixels down")
    for down in (-1, 0, 1):
        ax.plot([-1, 0, 1], [down] * 3, "s", color=COLORS.band, markersize=22, zorder=0)
    for column, color, size in (("start", COLORS.muted, 2.0), ("places", COLORS.accent, 3.5)):
        for places in per_seed(trials, column, part="heads", kernel="orthogonal", heads=9):
            down, right = np.asarray(places).T
            ax.plot(right, down, "o", color=color, markersize=size, alpha=0.6, markeredgewidth=0)
    ax.set_xlim(-3.2, 3.2)
    ax.set_ylim(3.2, -3.2)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set_xticks(range(-3, 4))
    ax.set_yticks(range(-3, 4))
    ax.text(0.02, 0.97, "fitted", transform=ax.transAxes, color=COLORS.accent, fontsize=8, va="top")
    ax.text(0.02, 0.90, "random", transform=ax.transAxes, color=COLORS.muted, fontsize=8, va="top")
    ax.text(0.98, 0.03, "squares: the kernel's offsets", transform=ax.transAxes, fontsize=8, ha="right")


def _digits(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="After learning digits (not judged)", ylabel="pixels that a head reads")
    ax.set_yscale("log")
    layers = 0
    for place, (pixels, color) in enumerate(_PIXELS.items()):
        after = _stack(trials, "pixels_read", pixels)
        if after is None:
            continue
        layers, shift = after.shape[1], 0.36 * place - 0.18
        before = _stack(trials, "pixels_before", pixels)
        for layer in range(layers):
            heads = after[:, layer].ravel()
            x = layer + shift + 0.1 * np.linspace(-1, 1, len(heads))
            ax.plot(x, heads, "o", color=color, markersize=1.8, alpha=0.5)
            means = np.exp(np.log(after[:, layer]).mean(axis=1))
            figures.interval(ax, layer + shift, *figures.over_seeds(means, log=True), color=color)
        accuracy = per_seed(trials, "accuracy", part="digits", pixels=pixels).mean()
        ax.text(
            0.03,
            0.12 - 0.08 * place,
            f"pixels {pixels}: {accuracy:.0%} right",
            color=color,
            transform=ax.transAxes,
            fontsize=8,
        )
        if place == 0 and before is not None:
            ax.axhline(float(np.exp(np.log(before).mean())), linestyle="--", color=COLORS.muted, linewidth=0.8)
    ax.set_xticks(range(max(layers, 1)), [f"layer {1 + layer}" for layer in range(max(layers, 1))])
    ax.set_xlim(-0.5, max(layers, 1) - 0.5)
    ax.set_ylim(0.4, 100)
    ax.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    ax.minorticks_off()


def _stack(trials: pd.DataFrame, column: str, pixels: str) -> np.ndarray[Any, Any] | None:
    """Return [seeds, layers, heads]."""
    rows = per_seed(trials, column, part="digits", pixels=pixels)
    return None if rows.empty else np.stack([np.asarray(row) for row in rows])
