"""The picture of what plain and residual networks learn, by their depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullLocator

from deepscope import figures
from deepscope.figures import COLORS
from deepscope.studies.loss_landscape._degradation_cases import KINDS, RECIPES, by_seed, depths_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, and what is said of it.
STYLES = {
    "plain": (COLORS.second, "plain"),
    "residual": (COLORS.accent, "residual"),
    "looks-linear": (COLORS.third, "plain, started as an isometry"),
    "unscaled": (COLORS.muted, "residual, branches not scaled"),
}
#: The same, where there is less room.
BRIEF = {"plain": "plain", "residual": "residual", "looks-linear": "isometry"}
DEEP = RECIPES["perceptron"].deep


def draw(trials: pd.DataFrame) -> Figure:
    """Draw errors by depth, and what the deepest perceptrons do to images from layer to layer."""
    figure, axes = figures.new(7.2, 8.0, rows=3, cols=2)
    with figures.style():
        for ax, family, column, title in (
            (axes[0, 0], "perceptron", "train_error", "Perceptrons: training error"),
            (axes[0, 1], "perceptron", "test_error", "Perceptrons: test error"),
            (axes[1, 0], "convolutional", "train_error", "Convolutional, batch norm: training error"),
        ):
            _errors(ax, trials, family, column, title)
        _by_layer(
            axes[1, 1],
            trials,
            "similarity",
            ("plain", "residual", "looks-linear"),
            "How alike images are before training",
            "mean cosine between images",
        )
        axes[1, 1].set_ylim(0, 1.05)
        _by_layer(
            axes[2, 0],
            trials,
            "responses",
            KINDS,
            "What each pair of layers computes, trained",
            "standard deviation of the output",
        )
        axes[2, 0].set_yscale("log")
        _plain_ticks(axes[2, 0])
        _gradients(axes[2, 1], trials)
    return figure


def _errors(ax: Axes, trials: pd.DataFrame, family: str, column: str, title: str) -> None:
    ax.set(title=title, ylabel="% of the images", ylim=(-4, 100))
    depths = _depth_axis(ax, trials, family)
    for kind in KINDS:
        _line(ax, trials, family, column, kind, depths, 100)
    if family != "perceptron":
        return
    for arm in ("looks-linear", "unscaled"):
        values = by_seed(trials, column, family, arm, DEEP).dropna().to_numpy(dtype=float)
        if len(values):
            # Beside the others of this depth, which are as low or as high.
            figures.interval(ax, 0.87 * DEEP, *(100 * figures.over_seeds(values)).reshape(3, 1), color=STYLES[arm][0])
    # Beside the points there is no room for names as long as these.
    ax.text(5, 93, STYLES["unscaled"][1], color=STYLES["unscaled"][0], fontsize=7.5)
    ax.text(5, 84, STYLES["looks-linear"][1], color=STYLES["looks-linear"][0], fontsize=7.5)


def _gradients(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Gradient before training", ylabel="norm, first over last layer", yscale="log")
    depths = _depth_axis(ax, trials, "perceptron")
    for kind in KINDS:
        _line(ax, trials, "perceptron", "gradient_ratio", kind, depths, 1, log=True)
    _plain_ticks(ax)


def _plain_ticks(ax: Axes) -> None:
    """Write numbers beside a logarithmic axis, not powers of ten."""
    low, high = ax.get_ylim()
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())


def _depth_axis(ax: Axes, trials: pd.DataFrame, family: str) -> list[int]:
    recipe = RECIPES[family]
    depths = depths_of(trials, family)
    ticks = sorted({*depths, recipe.control, recipe.shallow, recipe.deep})
    ax.set_xscale("log")
    ax.set_xlim(0.85 * ticks[0], 2.6 * ticks[-1])
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("layers with weights")
    return depths


def _line(
    ax: Axes,
    trials: pd.DataFrame,
    family: str,
    column: str,
    arm: str,
    depths: list[int],
    factor: float,
    *,
    log: bool = False,
) -> None:
    color, name = STYLES[arm]
    places, rows = [], []
    for depth in depths:
        values = by_seed(trials, column, family, arm, depth).dropna().to_numpy(dtype=float)
        if len(values):
            places.append(depth)
            rows.append(factor * figures.over_seeds(values, log=log))
    if not rows:
        return
    middle, low, high = np.transpose(rows)
    ax.plot(places, middle, color=color)
    figures.interval(ax, places, middle, low, high, color=color)
    figures.direct_label(ax, places[-1], middle[-1], name, color)


def _by_layer(ax: Axes, trials: pd.DataFrame, column: str, arms: tuple[str, ...], title: str, label: str) -> None:
    ax.set(title=title, xlabel=f"pair of layers, of networks of {DEEP}", ylabel=label)
    last = 0
    for arm in arms:
        curves = by_seed(trials, column, "perceptron", arm, DEEP).dropna()
        if curves.empty:
            continue
        color = STYLES[arm][0]
        middle, low, high = figures.over_seeds(np.stack(list(curves)), log=column == "responses")
        places = np.arange(len(middle)) + (column == "responses")
        ax.plot(places, middle, color=color)
        if np.isfinite(low).all():
            ax.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
        figures.direct_label(ax, places[-1], middle[-1], BRIEF[arm], color)
        last = max(last, places[-1])
    ax.set_xlim(0, 1.38 * max(last, 1))
    ax.set_xticks([place for place in (0, 10, 20, 30) if place <= last])
