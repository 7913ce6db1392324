"""The picture of random labels: what is fitted, how fast, and what becomes of the test accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope import figures
from deepscope.core import Value, per_seed
from deepscope.figures import COLORS
from deepscope.studies.generalisation._random_label_cases import CHANCE, MOST_TIMES, SHARES, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What is reported of CIFAR-10 with random labels: the perceptron's test accuracy, and the most times the epochs.
REPORTED_TEST, REPORTED_TIMES = 0.105, 3.5


def draw(trials: pd.DataFrame) -> Figure:
    """Draw training over time, who fits random labels, and test accuracy and time over the share of random labels."""
    figure, axes = figures.new(7.2, 5.4, rows=2, cols=2)
    (course, fitted), (test, times) = axes
    with figures.style():
        _course(course, trials)
        _fitted(fitted, trials)
        _test(test, trials)
        _times(times, trials)
    return figure


def _course(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the training accuracy of the convolutional network, a line per seed."""
    looks: list[tuple[str, str, str, dict[str, Value]]] = [
        ("true labels", COLORS.accent, "-", {}),
        ("pixels shuffled", COLORS.muted, "--", {"inputs": "shuffled"}),
        ("noise for images", COLORS.third, "-", {"inputs": "gaussian"}),
        ("random labels", COLORS.second, "-", {"corruption": 1.0}),
    ]
    longest = 1
    for place, (name, color, dashes, changes) in enumerate(looks):
        curves = [np.asarray(curve) for curve in per_seed(trials, "train_accuracy", **plain("cnn", **changes))]
        for curve in curves:
            ax.plot(np.arange(1, len(curve) + 1), 100 * curve, dashes, color=color, linewidth=0.8)
            longest = max(longest, len(curve))
        if curves:
            ax.text(0.27, 0.56 - 0.09 * place, name, color=color, fontsize=8, transform=ax.transAxes)
    ax.set(title="Training accuracy of the convolutional network, %", xlabel="epoch", ylim=(0, 104))
    _log_ticks(ax, "x", [tick for tick in (1, 3, 10, 30, 100) if tick <= max(longest, 3)])


def _fitted(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw how well random labels are fitted, a row per network."""
    ten, two = {"corruption": 1.0}, {"labels": "signs"}
    rows: list[tuple[str, str, str, dict[str, Value]]] = [
        ("perceptron", "best_train", COLORS.second, plain("mlp", **ten)),
        ("convolutional", "best_train", COLORS.second, plain("cnn", **ten)),
        ("perceptron,\nstopped early", "early_train", COLORS.accent, plain("mlp", **ten)),
        ("softmax\nregression", "best_train", COLORS.accent, plain("linear", **ten)),
        ("perceptron", "best_train", COLORS.second, plain("mlp", **two)),
        ("linear\nclassifier", "best_train", COLORS.accent, plain("linear", **two)),
    ]
    for place, (_, column, color, case) in enumerate(rows):
        values = 100 * per_seed(trials, column, **case).dropna().to_numpy(dtype=float)
        if not len(values):
            continue
        chance = 100 * (CHANCE if case["labels"] == "classes" else 0.5)
        mean, low, high = figures.over_seeds(values)
        ax.plot([chance, chance], [place - 0.32, place + 0.32], ":", color=COLORS.muted)
        ax.plot([low, high], [place, place], color=color, linewidth=1.1, alpha=0.6)
        ax.plot(mean, place, "o", color=color, markeredgewidth=0)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    ax.axhline(3.5, color=COLORS.grid, linewidth=0.6)
    for place, name in ((3, "ten classes"), (5, "coin tosses")):
        ax.text(103, place, name, color=COLORS.muted, fontsize=8, ha="right", va="center")
    ax.set(title="Training accuracy on random labels, %", xlabel="%; dotted: chance", xlim=(0, 104))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False)


def _test(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the perceptron's test accuracy over the share of random labels, fitted and stopped early."""
    for column, color, name, shift in (
        ("early_test", COLORS.accent, "stopped early", 1.5),
        ("last_test", COLORS.second, "fitted", 0.0),
    ):
        points = {share: per_seed(trials, column, **plain("mlp", corruption=share)) for share in SHARES}
        found = [(100 * share + shift, 100 * values.to_numpy(float)) for share, values in points.items() if len(values)]
        _points(ax, found, color)
        middle = dict(found).get(50 + shift)
        if middle is not None:
            figures.direct_label(ax, 50 + shift, float(middle.mean()), name, color)
    ax.axhline(100 * CHANCE, color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.text(0, 100 * CHANCE - 2, "chance", color=COLORS.muted, fontsize=8, va="top")
    _reported(ax, 100 * REPORTED_TEST, above=True)
    ax.set(title="Test accuracy of the perceptron, %", xlabel="random labels in training, %")
    ax.set(xlim=(-6, 128), ylim=(-4, 104), xticks=[100 * share for share in SHARES])


def _times(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the epochs to fit as multiples of those for true labels."""
    for network, color, name, shift, named_at, above in (
        ("mlp", COLORS.second, "perceptron", 0.0, 0.5, False),
        ("cnn", COLORS.third, "convolutional", 2.0, 1.0, True),
    ):
        true = per_seed(trials, "epochs_to_fit", **plain(network))
        times = {
            share: (per_seed(trials, "epochs_to_fit", **plain(network, corruption=share)) / true).dropna()
            for share in SHARES[1:]
        }
        found = {share: values.to_numpy(float) for share, values in times.items() if len(values)}
        _points(ax, [(100 * share + shift, values) for share, values in found.items()], color, log=True)
        if named_at in found:
            ax.annotate(
                name,
                (100 * named_at + shift, figures.over_seeds(found[named_at], log=True)[0]),
                xytext=(0, 14 if above else -12),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                color=color,
                fontsize=8,
            )
    figures.band(ax, MOST_TIMES, 2 * MOST_TIMES)
    ax.text(3, 1.35 * MOST_TIMES, f"more than {MOST_TIMES} times", color=COLORS.muted, fontsize=8, va="center")
    _reported(ax, REPORTED_TIMES, above=False)
    ax.axhline(1, color=COLORS.muted, linewidth=0.8, linestyle=":")
    ax.text(0, 1.06, "as true labels", color=COLORS.muted, fontsize=8)
    ax.set(title="Epochs to fit, times those of true labels", xlabel="random labels in training, %")
    ax.set(xlim=(-6, 128), ylim=(0.8, 2 * MOST_TIMES), xticks=[100 * share for share in SHARES])
    _log_ticks(ax, "y", [1, 2, 5, 10, 20])


def _points(ax: Axes, found: list[tuple[float, NDArray[np.float64]]], color: str, *, log: bool = False) -> None:
    """Draw means over seeds with their 95 % intervals, and a line through them."""
    if not found:
        return
    xs = [x for x, _ in found]
    middles, lows, highs = np.transpose([figures.over_seeds(values, log=log) for _, values in found])
    ax.plot(xs, middles, color=color, linewidth=0.8, alpha=0.6)
    figures.interval(ax, xs, middles, lows, highs, color=color)


def _reported(ax: Axes, y: float, *, above: bool) -> None:
    """Mark what is reported of CIFAR-10 when all labels are random."""
    ax.plot(106, y, "D", color=COLORS.ink, markersize=4, markerfacecolor="none", zorder=4)
    ax.annotate(
        "reported,\nCIFAR-10",
        (128, y),
        xytext=(0, 6 if above else -6),
        textcoords="offset points",
        ha="right",
        va="bottom" if above else "top",
        color=COLORS.ink,
        fontsize=8,
    )


def _log_ticks(ax: Axes, axis: str, ticks: list[int]) -> None:
    which = ax.xaxis if axis == "x" else ax.yaxis
    (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    which.set_ticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
