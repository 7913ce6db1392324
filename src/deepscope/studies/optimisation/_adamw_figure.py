"""The picture of coupled and decoupled weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import per_seed
from deepscope.figures import COLORS
from deepscope.studies.optimisation._decay_grid import DECAYS, RATES
from deepscope.studies.optimisation._decay_rates import SCALES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ARMS = {"adam-l2": ("Adam with L2", COLORS.second), "adamw": ("AdamW", COLORS.accent)}
#: Losses in nats at the ends of the shades.
_SHADES = 0.2, 0.6


def draw(trials: pd.DataFrame) -> Figure:
    """Draw decay rates over gradient scale, what chosen networks lose, and the losses over both grids."""
    figure, axes = figures.new(7.2, 5.6, rows=2, cols=2)
    with figures.style():
        _rates(axes[0, 0], trials)
        _losses(axes[0, 1], trials)
        for ax, method in zip(axes[1], _ARMS, strict=True):
            _grid(ax, trials, method)
    return figure


def _rates(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Weights that see only noise", xlabel="root mean square of the gradient")
    ax.set(ylabel="decay rate over λ", xscale="log", yscale="log")
    for method, (name, color) in _ARMS.items():
        rows = per_seed(trials, f"{method}_rates", part="rates")
        if rows.empty:
            continue
        scales = np.asarray(per_seed(trials, "scales", part="rates").iloc[0], dtype=float)
        middle, low, high = figures.over_seeds(np.stack([np.asarray(row, dtype=float) for row in rows]), log=True)
        ax.plot(scales, middle, color=color)
        figures.interval(ax, scales, middle, low, high, color=color)
        end, side = (0, "left") if method == "adam-l2" else (-1, "right")
        ax.annotate(
            name,
            (scales[end], middle[end]),
            xytext=(8, -2) if side == "left" else (0, 6),
            textcoords="offset points",
            color=color,
            fontsize=8,
            ha=side,
        )
    ax.set_xticks(SCALES, [_short(each) for each in SCALES])
    ax.set_yticks(SCALES, [_short(each) for each in SCALES])
    ax.minorticks_off()


def _short(scale: float) -> str:
    return f"{scale:g}" if scale >= 1 else f"1/{1 / scale:g}"


def _losses(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Networks chosen on validation images", ylabel="test loss, nats")
    bars: dict[str, tuple[str, str]] = {"none": ("no decay", COLORS.muted), **_ARMS}
    ax.set_xticks(range(len(bars)), [name for name, _ in bars.values()])
    ax.set_xlim(-0.6, len(bars) - 0.4)
    for place, (arm, (_, color)) in enumerate(bars.items()):
        losses = per_seed(trials, f"{arm}_loss", part="grid").to_numpy(dtype=float)
        if not len(losses):
            continue
        spread = np.linspace(-0.18, 0.18, len(losses))
        ax.plot(place + spread, losses, "o", color=color, alpha=0.3, markersize=3, markeredgewidth=0)
        figures.interval(ax, place, *figures.over_seeds(losses).reshape(3, 1), color=color)
        ax.annotate(
            f"{losses.mean():.3f}",
            (place, 0),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=color,
            fontsize=8,
        )
    ax.set_ylim(bottom=0, top=None if ax.lines else 1)


def _grid(ax: Axes, trials: pd.DataFrame, method: str) -> None:
    name, _ = _ARMS[method]
    ax.set(title=f"{name}: validation loss", xlabel="weight decay λ", ylabel="learning rate")
    maps = per_seed(trials, f"{method}_map", part="grid")
    if maps.empty:
        return
    mean = np.mean([np.asarray(each, dtype=float) for each in maps], axis=0)
    figures.matrix(ax, mean, [f"{rate:g}" for rate in RATES], "nats", *_SHADES)
    ax.set_xticks(range(len(DECAYS[method])), [f"{decay:g}" for decay in DECAYS[method]], rotation=30)
    best: Any = np.unravel_index(int(np.argmin(mean)), mean.shape)
    ax.plot(best[1], best[0], "o", color=COLORS.paper, markeredgecolor=COLORS.ink, markersize=6)
