"""The picture of the information bottleneck: bits by several estimates, and local rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.learning_dynamics._layer_information import BINS, OTHER_BINS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

#: Estimate, label, colour.
_ESTIMATES = (
    ("exact", "no bins: which codes are equal", COLORS.muted),
    ("redrawn", "30 bins, range redrawn", COLORS.second),
    ("bins_30", "30 bins, range fixed", COLORS.accent),
)
_NETWORKS = {"tanh": ("tanh", COLORS.accent), "relu": ("ReLU", COLORS.second)}
_DIGITS = {
    "no decay": ("no decay", COLORS.accent),
    "weight decay": ("weight decay", COLORS.second),
    "random labels": ("random labels", COLORS.third),
}
_RANKS = (("participation", "(Σσ)²/Σσ²\njudged"), ("energy", "(Σσ²)²/Σσ⁴"), ("count", "number of σ\nabove 1 %"))


def draw(trials: pd.DataFrame) -> Figure:
    """Draw bits over training, compression by bins, the information plane, and local rank."""
    figure, axes = figures.new(7.2, 8.6, rows=3, cols=2)
    with figures.style():
        for ax, arm in zip(axes[0], _NETWORKS, strict=True):
            _bits(ax, trials, arm)
        _by_bins(axes[1, 0], trials)
        _plane(axes[1, 1], trials)
        _local_rank(axes[2, 0], trials)
        _ratios(axes[2, 1], trials)
    return figure


def _curves(trials: pd.DataFrame, column: str, arm: str) -> NDArray[Any]:
    """Return a curve per seed, the mean over layers where there are layers; runs that ended early are left out."""
    rows = [np.asarray(each, dtype=float) for each in per_seed(trials, column, arm=arm)]
    longest = max((len(each) for each in rows), default=0)
    return np.array([each if each.ndim == 1 else each.mean(axis=1) for each in rows if len(each) == longest])


def _epochs(ax: Axes, trials: pd.DataFrame, arm: str) -> NDArray[Any]:
    epochs = _curves(trials, "epoch", arm)
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlabel("epoch")
    if not len(epochs):
        return np.empty(0)
    ticks = [each for each in (0, 1, 10, 100, 1000) if each <= epochs[0][-1]]
    ax.set_xticks(ticks, [str(each) for each in ticks])
    ax.minorticks_off()
    return np.asarray(epochs[0])


def _bits(ax: Axes, trials: pd.DataFrame, arm: str) -> None:
    epochs = _epochs(ax, trials, arm)
    ax.set(title=f"{_NETWORKS[arm][0]}: bits about the input", ylabel="I(X; T), bits", ylim=(0, 19))
    for place, (column, label, color) in enumerate(_ESTIMATES):
        curves = _curves(trials, column, arm)
        if len(curves):
            middle, low, high = figures.over_seeds(curves)
            ax.plot(epochs, middle, color=color, linewidth=0.9)
            figures.interval(ax, epochs, middle, low, high, color=color)
        ax.text(0.02, 0.97 - 0.08 * place, label, color=color, fontsize=8, va="top", transform=ax.transAxes)
    ax.set_yticks(range(0, 13, 2))


def _by_bins(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Compression depends on the bins", xlabel="bins over a fixed range", ylabel="compression, bits")
    figures.band(ax, 0.0, 0.1)
    places = sorted((BINS, *OTHER_BINS))
    for arm, (name, color) in _NETWORKS.items():
        rows = np.array([per_seed(trials, f"compression_bins_{bins}", arm=arm).to_numpy(float) for bins in places]).T
        if not len(rows):
            continue
        # One network that compresses is no spread of all: each seed is seen.
        ax.plot(range(len(places)), rows.T, color=color, linewidth=0.6, alpha=0.4)
        middle, low, high = figures.over_seeds(rows)
        ax.plot(range(len(places)), middle, color=color, linewidth=0.9)
        figures.interval(ax, range(len(places)), middle, low, high, color=color)
        ax.annotate(name, (1, middle[1]), (6, 7), textcoords="offset points", color=color, fontsize=8)
    ax.set_xticks(range(len(places)), [f"{bins:,}" for bins in places])


def _plane(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="tanh: the plane that 30 bins show", xlabel="I(X; T), bits", ylabel="I(T; Y), bits")
    planes = [per_seed(trials, column, arm="tanh").to_list() for column in ("bins_30", "label")]
    if not planes[0]:
        return
    longest = max(len(each) for each in planes[0])
    inputs, labels = (np.mean([each for each in rows if len(each) == longest], axis=0) for rows in planes)
    n_layers = inputs.shape[1]
    for layer in range(n_layers):
        x, y = inputs[:, layer], labels[:, layer]
        ax.plot(x, y, color=COLORS.accent, alpha=0.35 + 0.65 * layer / n_layers, linewidth=1.0)
        ax.plot(x[0], y[0], "o", color=COLORS.muted, markersize=3.5)
        # Over several snapshots: the last step alone points anywhere.
        before = (x[-min(5, len(x))], y[-min(5, len(x))])
        arrow = {"arrowstyle": "->", "color": COLORS.ink, "linewidth": 0.9}
        ax.annotate("", (x[-1], y[-1]), before, arrowprops=arrow)
        if layer in (0, n_layers - 1):
            label = ("first\nlayer", "last hidden\nlayer")[layer > 0]
            ax.annotate(label, (x[0], y[0]), (0, -8), textcoords="offset points", va="top", ha="center", fontsize=8)
    ax.set_ylim(0, 1.1)
    ax.set_xlim(0, 13)


def _local_rank(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Digits: local rank of layer 3", ylabel="local rank", yscale="log")
    for place, (arm, (name, color)) in enumerate(_DIGITS.items()):
        epochs, curves = _epochs(ax, trials, arm), _curves(trials, "rank", arm)
        ax.text(0.03, 0.19 - 0.08 * place, name, color=color, fontsize=8, transform=ax.transAxes)
        if not len(curves):
            continue
        middle, low, high = figures.over_seeds(curves, log=True)
        ax.plot(epochs, middle, color=color, linewidth=0.9)
        figures.interval(ax, epochs, middle, low, high, color=color)
    ticks = [5, 10, 20, 30]
    ax.set_ylim(3, 42)
    ax.set_yticks(ticks, [str(each) for each in ticks])
    ax.minorticks_off()


def _ratios(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Local rank by three definitions, over no decay", ylabel="ratio", yscale="log")
    figures.band(ax, 0.85, 1 / 0.85)
    ax.axhline(1, color=COLORS.muted, linewidth=0.8)
    for place, (column, _) in enumerate(_RANKS):
        plain = per_seed(trials, f"log_{column}", arm="no decay")
        for shift, arm in ((-0.08, "weight decay"), (0.08, "random labels")):
            ratio = np.exp((per_seed(trials, f"log_{column}", arm=arm) - plain).dropna().to_numpy(float))
            if len(ratio):
                figures.interval(ax, place + shift, *figures.over_seeds(ratio, log=True), color=_DIGITS[arm][1])
    for height, arm in ((0.11, "weight decay"), (0.03, "random labels")):
        ax.text(0.03, height, _DIGITS[arm][0], color=_DIGITS[arm][1], fontsize=8, transform=ax.transAxes)
    ax.set_xticks(range(len(_RANKS)), [label for _, label in _RANKS])
    ax.set_xlim(-0.6, 2.6)
    ticks = [0.1, 0.2, 0.5, 1, 2]
    ax.set_ylim(0.08, 2.2)
    ax.set_yticks(ticks, [str(each) for each in ticks])
    ax.minorticks_off()
