"""The picture of what students learn from labels and from soft targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rows from the top down.
_ARMS = {
    "hard": "labels",
    "permuted": "T = 8, permuted",
    "ignorant": "T = 8, ignorant teacher",
    "soft_1": "T = 1",
    "soft_2": "T = 2",
    "soft": "T = 8",
    "soft_20": "T = 20",
}
_GUESSING = 10.0


def draw(trials: pd.DataFrame) -> Figure:
    """Draw accuracies with few images, and the recall of the omitted class."""
    figure, axes = figures.new(7.2, 3.4, cols=2, width_ratios=[1, 1])
    with figures.style():
        _accuracies(axes[0], trials)
        _recalls(axes[1], trials)
    return figure


def _accuracies(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Shown few of the teacher's images", xlabel="test images right (%)")
    arms = [arm for arm in _ARMS if arm != "ignorant"]
    _rows(ax, arms)
    for transfer, color, shift in (("few", COLORS.second, 0.13), ("more", COLORS.accent, -0.13)):
        for place, arm in enumerate(arms):
            _point(ax, place + shift, trials, transfer, f"{arm}_accuracy", color)
        counts = per_seed(trials, "n_transfer", transfer=transfer)
        if len(counts):
            height = 0.12 if transfer == "more" else 0.04
            text = f"{counts.iloc[0]:,.0f} images"
            ax.text(0.03, height, text, color=color, fontsize=8, transform=ax.transAxes)
    teacher = 100 * per_seed(trials, "teacher_accuracy", transfer="more").dropna()
    if len(teacher):
        ax.axvline(teacher.mean(), linestyle="--", color=COLORS.muted, linewidth=0.9)
        ax.annotate("teacher", (teacher.mean(), -0.42), xytext=(-3, 0), textcoords="offset points", ha="right")


def _recalls(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Shown no 3", xlabel="3s recognised (%)", xlim=(-4, 104))
    _rows(ax, list(_ARMS))
    ax.axvline(_GUESSING, linestyle=":", color=COLORS.muted, linewidth=0.9)
    for place, arm in enumerate(_ARMS):
        _point(ax, place, trials, "omitted", f"{arm}_recall", COLORS.accent)
        plain = 100 * per_seed(trials, f"{arm}_plain", transfer="omitted").dropna()
        if len(plain):
            ax.plot(plain.mean(), place, "o", color=COLORS.muted, markersize=5, markerfacecolor="none")


def _rows(ax: Axes, arms: list[str]) -> None:
    ax.set_yticks(range(len(arms)), [_ARMS[arm] for arm in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.grid(visible=False)
    ax.grid(visible=True, axis="x")


def _point(ax: Axes, place: float, trials: pd.DataFrame, transfer: str, column: str, color: str) -> None:
    """Draw a mean over seeds with its interval."""
    values = 100 * per_seed(trials, column, transfer=transfer).dropna()
    if len(values):
        mean, low, high = figures.over_seeds(values.to_numpy(float))
        ax.plot([low, high], [place] * 2, color=color, linewidth=1.4)
        ax.plot(mean, place, "o", color=color, markersize=5, markeredgewidth=0)
