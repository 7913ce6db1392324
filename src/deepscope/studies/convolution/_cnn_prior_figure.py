"""The picture of what weight sharing buys, and of pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deepscope import figures
from deepscope.figures import COLORS
from deepscope.studies.convolution._cnn_prior_cases import MANY_MLP, POOLED, Fields, learning, numbers, pooled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Name, colour and condition, from top to bottom; None for a gap with a heading.
LEARNERS: tuple[tuple[str, str, Fields | None], ...] = (
    ("shifted", COLORS.muted, None),
    ("convolutional", COLORS.accent, learning("cnn")),
    ("same, weights\nnot shared", COLORS.third, learning("unshared")),
    ("local", COLORS.second, learning("local")),
    ("perceptron", COLORS.second, learning("mlp")),
    ("perceptron,\nmore digits", COLORS.second, MANY_MLP),
    ("shifted, pixels in a random order", COLORS.muted, None),
    ("convolutional", COLORS.accent, learning("cnn", "permuted")),
    ("perceptron", COLORS.second, learning("mlp", "permuted")),
    ("not shifted", COLORS.muted, None),
    ("convolutional", COLORS.accent, learning("cnn", "still")),
    ("perceptron", COLORS.second, learning("mlp", "still")),
)
#: Name, colour, column and network.
LAYERS = (
    ("convolutions", COLORS.accent, "circular_error", "cnn"),
    ("… inside, zeros\nat the border", COLORS.accent, "interior_error", "cnn"),
    ("… pooled,\neven shifts", COLORS.accent, "even_error", "cnn"),
    ("… zeros at\nthe border", COLORS.third, "best_border_error", "cnn"),
    ("… pooled,\nodd shifts", COLORS.third, "best_odd_error", "cnn"),
    ("weights\nnot shared", COLORS.second, "best_error", "unshared"),
    ("local", COLORS.second, "best_error", "local"),
    ("perceptron", COLORS.second, "best_span_error", "mlp"),
)
NAMES = {"relu": "rectified", "tanh": "tanh"}
ACTIVATION_COLORS = {"relu": COLORS.accent, "tanh": COLORS.second}
#: Pooling, what it is compared with, activation.
COMPARED = (
    ("average", "max", "relu"),
    ("overlapping", "max", "relu"),
    ("average", "max", "tanh"),
    ("subsampling", "max", "tanh"),
)


def draw(trials: pd.DataFrame) -> Figure:
    """Draw errors by network and equivariance by layer above, errors by pooling and their differences below."""
    figure, axes = figures.new(7.2, 6.4, rows=2, cols=2, height_ratios=[1.45, 1])
    (learners, layers), (pooling, differences) = axes
    with figures.style():
        _learners(learners, trials)
        _layers(layers, trials)
        _pooling(pooling, trials)
        _differences(differences, trials)
    return figure


def _learners(ax: Axes, trials: pd.DataFrame) -> None:
    for place, (name, color, case) in enumerate(LEARNERS):
        if case is None:
            ax.text(1, place, name, color=color, fontsize=8, va="center")
        else:
            _row(ax, place, 100 * numbers(trials, "error", case), color, digits=0)
    names = [name if case else "" for name, _, case in LEARNERS]
    _names(ax, [name.replace("more", _amount(trials, "many")) for name in names])
    ax.set(title=f"Error, {_amount(trials, 'few')} digits learned", xlabel="% of other digits", xlim=(0, 74))


def _layers(ax: Axes, trials: pd.DataFrame) -> None:
    for place, (_, color, column, network) in enumerate(LAYERS):
        errors = numbers(trials, column, learning(network)).dropna()
        if len(errors):
            ax.plot([errors.min(), errors.max()], [place, place], "o-", color=color, markeredgewidth=0, clip_on=False)
    _names(ax, [name for name, *_ in LAYERS])
    ax.axhline(2.5, color=COLORS.grid, linewidth=0.8)
    ax.text(1.4, 1, "exact by theory", color=COLORS.muted, fontsize=8, ha="right", va="center")
    ax.set(title="Does the output move with the image?", xlabel="error, relative to what varies", xlim=(0, 1.4))


def _pooling(ax: Axes, trials: pd.DataFrame) -> None:
    for place, (pooling, activation) in enumerate(POOLED):
        errors = 100 * numbers(trials, "error", pooled(pooling, activation))
        _row(ax, place, errors, ACTIVATION_COLORS[activation], digits=1)
    _names(ax, [pooling for pooling, _ in POOLED])
    ax.axhline(3.5, color=COLORS.grid, linewidth=0.8)
    for place, activation in ((0, "relu"), (6, "tanh")):
        color = ACTIVATION_COLORS[activation]
        ax.text(32, place, NAMES[activation], color=color, fontsize=8, ha="right", va="center")
    ax.set(
        title=f"Error by pooling, {_amount(trials, 'many')} digits learned", xlabel="% of other digits", xlim=(0, 32)
    )


def _differences(ax: Axes, trials: pd.DataFrame) -> None:
    ax.axvspan(-1, 1, color=COLORS.band, linewidth=0, zorder=0)
    ax.axvline(0, color=COLORS.muted, linewidth=0.8, linestyle=":")
    for place, (pooling, other, activation) in enumerate(COMPARED):
        one, two = (numbers(trials, "error", pooled(each, activation)) for each in (pooling, other))
        _row(ax, place, 100 * (one - two), ACTIVATION_COLORS[activation], digits=1, above=True)
    _names(ax, [f"{pooling},\n{NAMES[activation]}" for pooling, _, activation in COMPARED])
    ax.set(title="… minus the error with max pooling", xlabel="points; left: better than max pooling", xlim=(-5, 5))


def _row(ax: Axes, place: float, values: pd.Series[float], color: str, *, digits: int, above: bool = False) -> None:
    """Draw a mean over seeds with its interval, and write it beside, or above."""
    known = values.dropna().to_numpy(dtype=float)
    if not len(known):
        return
    mean, low, high = figures.over_seeds(known)
    ax.plot([low, high], [place, place], color=color, linewidth=1.1, alpha=0.6)
    ax.plot(mean, place, "o", color=color, markeredgewidth=0)
    ax.annotate(
        f"{mean:.{digits}f}".replace("-", "−"),
        (mean if above else np.fmax(mean, high), place),
        xytext=(0, 4) if above else (5, 0),
        textcoords="offset points",
        color=color,
        fontsize=8,
        ha="center" if above else "left",
        va="bottom" if above else "center",
    )


def _amount(trials: pd.DataFrame, sample: str) -> str:
    """Return how many digits are few, or many."""
    return f"{int(trials[sample].iloc[0]):,}" if sample in trials and len(trials) else sample


def _names(ax: Axes, names: list[str]) -> None:
    named = [place for place, name in enumerate(names) if name]
    ax.set_yticks(named, [names[place] for place in named])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
