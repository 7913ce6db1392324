"""The picture of batch size and spectra."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope import figures
from deepscope.core import Value, per_seed
from deepscope.figures import COLORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCHES = (2, 4, 8, 16, 64, 256)
#: The hidden matrices, by their columns' prefix.
LAYERS = {"first": "first layer", "square": "second layer"}
#: Rate, start, colour, label, and the batch beside which it stands, moved by so many points.
SERIES: tuple[tuple[str, str, str, str, int, tuple[float, float]], ...] = (
    ("constant", "glorot", COLORS.accent, "constant rate", 256, (-2, 8)),
    ("low ratio", "glorot", COLORS.third, "rate/batch 1/160", 2, (-4, 8)),
    ("high ratio", "glorot", COLORS.second, "rate/batch 1/20", 8, (7, 0)),
)
TORCH = ("constant", "torch", COLORS.muted, "constant rate,\ntorch’s start", 256, (-2, 8))
CLASSES = 10
PHASES = {
    "random-like": COLORS.third,
    "bleeding-out": COLORS.third,
    "bulk+spikes": COLORS.grid,
    "bulk-decay": COLORS.second,
    "heavy-tailed": COLORS.accent,
}
#: Phases on whose colour the text is white.
DARK_PHASES = ("random-like", "bleeding-out", "bulk-decay", "heavy-tailed")


def draw(trials: pd.DataFrame) -> Figure:
    """Draw exponent, soft rank, spikes, phases and test accuracy by batch size, and the tails of one network."""
    figure, axes = figures.new(7.2, 8.2, rows=3, cols=2)
    with figures.style():
        _alphas(axes[0, 0], trials)
        _soft_ranks(axes[0, 1], trials)
        _spikes(axes[1, 0], trials)
        _phases(axes[1, 1], trials)
        _tails(axes[2, 0], trials)
        _accuracies(axes[2, 1], trials)
    return figure


def _case(batch: int, rate: str = "constant", start: str = "glorot") -> dict[str, Value]:
    return {"start": start, "rate": rate, "batch_size": batch}


def _alphas(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Tail exponent α, mean of both layers", xlabel="batch size")
    for each in (*SERIES, TORCH):
        _series(ax, trials, "alpha", *each)
    rings = {batch: per_seed(trials, "noise_alpha", **_case(batch)).dropna() for batch in BATCHES}
    found = {batch: float(values.mean()) for batch, values in rings.items() if len(values)}
    looks: dict[str, Any] = {"markerfacecolor": "none", "markersize": 7, "markeredgewidth": 0.8, "zorder": 4}
    ax.plot(list(found), list(found.values()), "o", color=COLORS.ink, **looks)
    label = "rings: noise with\nthe same spikes"
    ax.text(0.98, 0.66, label, ha="right", color=COLORS.ink, fontsize=8, transform=ax.transAxes)
    _batch_axis(ax)


def _soft_ranks(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="MP soft rank, mean of both layers", xlabel="batch size")
    for each in SERIES:
        _series(ax, trials, "soft_rank", *each)
    _series(ax, trials, "shuffled_soft_rank", "constant", "glorot", COLORS.muted, "entries shuffled", 2, (0, 6))
    ax.axhline(1 / 1.2, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    above = "above: random-like or bleeding out"
    ax.text(256, 1 / 1.2 - 0.015, above, color=COLORS.muted, fontsize=8, ha="right", va="top")
    ax.set_ylim(0, 1.12)
    _batch_axis(ax)


def _series(
    ax: Axes,
    trials: pd.DataFrame,
    column: str,
    rate: str,
    start: str,
    color: str,
    label: str,
    named_at: int,
    moved: tuple[float, float],
) -> None:
    """Draw means over seeds with their intervals, and the name; torch's start has too few for a line."""
    values = {batch: per_seed(trials, column, **_case(batch, rate, start)).dropna() for batch in BATCHES}
    rows = {batch: figures.over_seeds(each.to_numpy(float)) for batch, each in values.items() if len(each)}
    if not rows:
        return
    xs, (middles, lows, highs) = list(rows), np.transpose(list(rows.values()))
    if start == "glorot":
        ax.plot(xs, middles, color=color, linewidth=0.8, alpha=0.6)
    figures.interval(ax, xs, middles, lows, highs, color=color)
    if named_at not in rows:
        return
    ax.annotate(
        label,
        (named_at, rows[named_at][0]),
        xytext=moved,
        textcoords="offset points",
        ha="right" if named_at == BATCHES[-1] else "left",
        va="bottom" if moved[1] > 0 else "top" if moved[1] else "center",
        color=color,
        fontsize=8,
    )


def _batch_axis(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    ax.set_xlim(1.6, 330)
    ax.minorticks_off()


def _spikes(ax: Axes, trials: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set(title="Spikes at the constant rate", xlabel="batch size")
    for layer, color, batch, moved in (("first", COLORS.accent, 2, (7, 0)), ("square", COLORS.second, 256, (-2, -8))):
        _series(ax, trials, f"{layer}_spikes", "constant", "glorot", color, LAYERS[layer], batch, moved)
    ax.axhline(CLASSES, color=COLORS.muted, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    ax.text(256, CLASSES + 0.2, f"{CLASSES} classes", color=COLORS.muted, fontsize=8, ha="right", va="bottom")
    ax.set_ylim(0, None)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _batch_axis(ax)


def _phases(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the share of layers in each phase, a row per batch size, and of noise with the spikes of a batch of 2."""
    ax.set(title="Phases at the constant rate", xlabel="share of both layers (%)", ylabel="batch size", xlim=(0, 100))
    rows = [(str(batch), _shares(trials, batch)) for batch in reversed(BATCHES)]
    noise = [per_seed(trials, f"{layer}_noise_heavy", **_case(2)).dropna() for layer in LAYERS]
    heavy = 50 * sum(float(values.mean()) for values in noise) if all(map(len, noise)) else 0.0
    rows.append(("2, rest\nis noise", {"heavy-tailed": heavy, "not heavy-tailed": 100 - heavy}))
    for place, (_, shares) in enumerate(rows):
        left = 0.0
        for phase, share in shares.items():
            ax.barh(place, share, left=left, color=PHASES.get(phase, COLORS.band), height=0.72, linewidth=0)
            if share >= 25:
                paint = COLORS.paper if phase in DARK_PHASES else COLORS.ink
                ax.text(left + share / 2, place, phase, ha="center", va="center", color=paint, fontsize=7)
            left += share
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False)


def _shares(trials: pd.DataFrame, batch: int) -> dict[str, float]:
    here = trials
    for name, value in _case(batch).items():
        here = here[here[name] == value] if name in here else here.iloc[:0]
    counts = Counter(phase for layer in LAYERS if len(here) for phase in here[f"{layer}_phase"])
    ordered = [*PHASES, *sorted(set(counts) - set(PHASES))]
    return {phase: 100 * counts[phase] / counts.total() for phase in ordered if counts[phase]}


def _tails(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the eigenvalues of one network's first layer by their rank: a power law is a straight line."""
    ax.set(title="Eigenvalues of the first layer, one network", xlabel="eigenvalue over the median")
    ax.set_ylabel("share that is at least as large")
    ax.set_xscale("log")
    ax.set_yscale("log")
    for batch, color, label, place in ((256, COLORS.second, "batch 256", 0.3), (2, COLORS.accent, "batch 2", 0.2)):
        values, noise = (per_seed(trials, f"first_{name}eigenvalues", **_case(batch)) for name in ("", "noise_"))
        if values.empty:
            continue
        for rows, marker, size in ((values, ".", 4.0), (noise, "-", None)):
            each: Any = np.sort(np.asarray(rows.iloc[0]))[::-1]
            share = np.arange(1, len(each) + 1) / len(each)
            ax.plot(each / np.median(each), share, marker, color=color, markersize=size, linewidth=0.8)
        ax.text(0.04, place, label, color=color, fontsize=8, transform=ax.transAxes)
    ax.text(0.04, 0.1, "lines: noise with\nthe same spikes", color=COLORS.muted, fontsize=8, va="center",
            transform=ax.transAxes)  # fmt: skip


def _accuracies(ax: Axes, trials: pd.DataFrame) -> None:
    ax.set(title="Test accuracy (%)", xlabel="batch size")
    scaled = trials.assign(percent=100 * trials["test_accuracy"]) if "test_accuracy" in trials else trials
    _series(ax, scaled, "percent", *SERIES[0])
    _batch_axis(ax)
