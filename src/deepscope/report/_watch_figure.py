"""The curves of a watched training: a panel per quantity, over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope.figures import COLORS, interval, new
from deepscope.report._record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float] | NDArray[np.float64]

_WIDTH, _PANEL = 6.2, 1.6  # inches
_APART = 0.17  # of a panel's height, between the middles of two labels
#: Values that span more than this are drawn on a logarithmic axis.
_WIDE = 20.0
#: A line to compare with, or an end of an interval, that is farther away than this leaves the panel: it would hide how
#: the values move.
_FAR = 30.0


@dataclass(frozen=True)
class _Curve:
    """One curve of a panel.

    Attributes
    ----------
    name
        Stands at its end.
    steps, values
        Its points; NaN is a gap.
    low, high
        Ends of the intervals, where there are some.
    dots
        Whether each point was measured, rather than averaged.
    reference
        Whether it is what others are compared with: a dashed line.
    """

    name: str
    steps: Sequence[int]
    values: Numbers
    color: str = COLORS.accent
    low: Numbers | None = None
    high: Numbers | None = None
    dots: bool = True
    reference: bool = False

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if math.isfinite(value)]

    @property
    def ends(self) -> list[float]:
        """Ends of the intervals that are drawn."""
        both = zip(self.low, self.high, strict=True) if self.low is not None and self.high is not None else ()
        return [end for ends in both if all(map(math.isfinite, ends)) for end in ends]


def watch_figure(record: Record) -> Figure:
    """Draw a watched training: losses, sharpness beside its threshold, noise scale, kernel drift, dead units.

    A quantity that was not measured has no panel.
    """
    panels = [(label, [curve for curve in curves if curve.known]) for label, curves in _panels(record)]
    panels = [(label, curves) for label, curves in panels if not all(curve.reference for curve in curves)]
    count = max(len(panels), 1)
    figure, axes = new(width=_WIDTH, height=_PANEL * count + 0.4, rows=count, sharex=True, squeeze=False)
    for ax, (label, curves) in zip(axes[:, 0], panels, strict=False):
        ax.set_ylabel(label)
        _draw(ax, curves)
    axes[-1, 0].set_xlabel("step")
    axes[-1, 0].set_xlim(0, max(record["steps"], 1))
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True, nbins=6)
    for ax, (_, curves) in zip(axes[:, 0], panels, strict=False):
        _labels(ax, curves)
    figure.align_ylabels()
    return figure


def _panels(record: Record) -> list[tuple[str, list[_Curve]]]:
    rows, windows = record["table"], record["training"]
    steps = _steps(rows)
    losses = _values(windows, "training_loss")
    sharpness = np.array(_values(rows, "sharpness"))
    residual = np.array(_values(rows, "sharpness_residual"))
    drift = np.array(_values(rows, "kernel_drift"))
    margin = 1.96 * np.array(_values(rows, "kernel_drift_stderr"))
    threshold, scale = _values(rows, "stability_threshold"), _values(rows, "noise_scale")
    scale_ends = [_values(rows, f"noise_scale_{end}") for end in ("low", "high")]
    batch = [float(record["batch_size"] or math.nan)] * len(rows)
    return [
        (
            "loss",
            [
                _Curve("training", _steps(windows), losses, dots=False),
                _curve("probe", rows, "probe_loss", COLORS.second),
            ],
        ),
        (
            "sharpness λ_max",
            [
                _Curve("λ_max", steps, sharpness, low=sharpness - residual, high=sharpness + residual),
                _Curve(record["stability"], steps, threshold, COLORS.ink, reference=True),
            ],
        ),
        (
            "gradient\nnoise scale",
            [
                _Curve("noise scale", steps, scale, low=scale_ends[0], high=scale_ends[1]),
                _Curve("batch size", steps, batch, COLORS.ink, reference=True),
            ],
        ),
        ("kernel drift", [_Curve("1 − alignment", steps, drift, low=drift - margin, high=drift + margin)]),
        (
            "share of units",
            [
                _curve("dead", rows, "dead_fraction", COLORS.accent),
                _curve("saturated", rows, "saturated_fraction", COLORS.second),
            ],
        ),
    ]


def _curve(name: str, rows: Sequence[Record], key: str, color: str) -> _Curve:
    return _Curve(name, _steps(rows), _values(rows, key), color)


def _steps(rows: Sequence[Record]) -> list[int]:
    return [row["step"] for row in rows]


def _values(rows: Sequence[Record], key: str) -> list[float]:
    """Return a column; a gap where there is no number."""
    return [math.nan if row.get(key) is None else float(row[key]) for row in rows]


def _draw(ax: Axes, curves: Sequence[_Curve]) -> None:
    measured = [value for curve in curves if not curve.reference for value in curve.known]
    beside = [value for curve in curves for value in (curve.known if curve.reference else curve.ends)]
    every = [*measured, *(value for value in beside if min(measured) / _FAR <= value <= max(measured) * _FAR)]
    if min(every) > 0 and max(every) > _WIDE * min(every):
        ax.set_yscale("log")
        ax.set_ylim(min(every) / 1.3, 1.3 * max(every))
    elif min(every) >= 0:
        ax.set_ylim(0, 1.08 * max(every) or 1)
    for curve in curves:
        line = "--" if curve.reference else "-"
        ax.plot(curve.steps, curve.values, line, color=curve.color, linewidth=1.0, zorder=2)
        if curve.dots and not curve.reference:
            gaps = [math.nan] * len(curve.steps)
            low, high = (gaps if end is None else end for end in (curve.low, curve.high))
            interval(ax, curve.steps, curve.values, low, high, color=curve.color)


def _labels(ax: Axes, curves: Sequence[_Curve]) -> None:
    """Name each curve at its end; names keep a distance from each other."""
    ends = sorted(((_height_of_end(ax, curve), curve) for curve in curves), key=lambda end: end[0])
    heights: list[float] = []
    for height, _ in ends:
        heights.append(max(height, heights[-1] + _APART) if heights else height)
    # What pushed them apart is shared by all, within the panel.
    pushed = float(np.mean(heights)) - float(np.mean([height for height, _ in ends]))
    down = min(max(pushed, heights[-1] - 1), heights[0])
    for height, (_, curve) in zip(heights, ends, strict=True):
        ax.annotate(
            curve.name,
            xy=(1.015, height - down),
            xycoords="axes fraction",
            va="center",
            color=curve.color,
            fontsize=8,
            parse_math=False,
        )


def _height_of_end(ax: Axes, curve: _Curve) -> float:
    known = [(step, value) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value)]
    height = float(ax.transAxes.inverted().transform(ax.transData.transform(known[-1]))[1])
    return min(max(height, 0.0), 1.0)
