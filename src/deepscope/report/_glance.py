"""The network at a glance: layers along x in forward order, one thin row per quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscope.core import SEVERITIES
from deepscope.report._findings import Entry
from deepscope.report._numbers import NONE, number, short
from deepscope.report._record import Record

#: Up to this many layers, every finding's mark is a link of its own; beyond, marks are strokes in two lanes.
LINKED_MARKS = 80

_TALL = 40.0  # height of a row's drawing, in its own units
_EDGE = 5.0  # what stays free above and below, so that no dot is cut
_STEP = 10.0  # width of a layer's column, in the same units


@dataclass(frozen=True)
class Row:
    """One quantity, drawn.

    Attributes
    ----------
    label, usual
        The quantity with its unit, and the range in which it is unremarkable (``""`` where none is known).
    alternative
        What a reader who cannot see the row should know.
    top, bottom
        The values at its upper and lower edge.
    shade
        Where the unremarkable range lies: upper edge and height, or None.
    line, intervals, inside, outside
        Paths: the course over the layers, the intervals, dots within the range and dots outside it.
    texts
        The value of each layer as text, with its interval.
    """

    label: str
    usual: str
    alternative: str
    top: str
    bottom: str
    shade: tuple[float, float] | None
    line: str
    intervals: str
    inside: str
    outside: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """The worst finding of one layer: where it stands (in per cent of the width), and where it links to."""

    left: str
    severity: str
    anchor: str
    words: str


@dataclass(frozen=True)
class Tick:
    """A layer's name below the rows; ``rank`` 0 is shown on every screen, 1 only where there is room."""

    left: str
    name: str
    rank: int


@dataclass(frozen=True)
class Glance:
    """Everything that the picture shows.

    Attributes
    ----------
    layers
        Names in forward order.
    rows
        One per quantity.
    marks
        Findings at their layers, where there are few layers.
    lanes
        Paths of strokes for problems and for warnings, where there are many.
    ticks
        The names that fit below.
    level
        Whether they fit side by side, unturned.
    width, tall, dot
        The drawing's size in its own units, and a dot's size in pixels.
    """

    layers: tuple[str, ...]
    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    lanes: tuple[tuple[str, str], ...]
    ticks: tuple[Tick, ...]
    level: bool
    width: float
    tall: float
    dot: float

    def left(self, index: int) -> str:
        """Return where a layer's column stands, in per cent of the width."""
        return _left(index, len(self.layers))


def glance(layers: Sequence[str], tracks: Sequence[Record], entries: Sequence[Entry]) -> Glance | None:
    """Draw tracks over layers; None where there is nothing to draw."""
    rows = tuple(_row(track, layers) for track in tracks if any(layer in track["values"] for layer in layers))
    if not layers or not rows:
        return None
    count = len(layers)
    worst = _worst_by_layer(entries)
    index = {layer: place for place, layer in enumerate(layers)}
    few = count <= LINKED_MARKS
    level = sum(len(_end_of(layer)) + 2 for layer in layers) <= 90
    return Glance(
        layers=tuple(layers),
        rows=rows,
        marks=tuple(_mark(index[layer], count, entry) for layer, entry in worst.items()) if few else (),
        lanes=() if few else _lanes(entries, index),
        ticks=_ticks(layers, level=level),
        level=level,
        width=count * _STEP,
        tall=_TALL,
        dot=5.5 if count <= 40 else 4 if count <= 150 else 2.4,
    )


def _left(index: int, count: int) -> str:
    return f"{(index + 0.5) / count * 100:.4g}"


def _worst_by_layer(entries: Sequence[Entry]) -> dict[str, Entry]:
    worst: dict[str, Entry] = {}
    for entry in entries:
        if entry.layer is not None and entry.severity != "note":
            known = worst.get(entry.layer)
            if known is None or SEVERITIES.index(entry.severity) < SEVERITIES.index(known.severity):
                worst[entry.layer] = entry
    return worst


def _mark(index: int, count: int, entry: Entry) -> Mark:
    return Mark(_left(index, count), entry.severity, entry.anchor, f"{entry.severity} in {entry.layer}: {entry.message}")


def _lanes(entries: Sequence[Entry], index: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    lanes = []
    for severity in ("problem", "warning"):
        places = {index[each.layer] for each in entries if each.layer is not None and each.severity == severity}
        lanes.append((severity, "".join(f"M{_x(place)} 0V10" for place in sorted(places))))
    return tuple(lanes)


def _ticks(layers: Sequence[str], *, level: bool) -> tuple[Tick, ...]:
    count = len(layers)
    # 34 slanted names fit a page's width, a third of them a telephone's.
    step = 1 if level else max(1, math.ceil(count / 34))
    coarse = 1 if count <= 11 else 3
    return tuple(
        Tick(_left(place, count), _end_of(layers[place]), 0 if order % coarse == 0 else 1)
        for order, place in enumerate(range(0, count, step))
    )


def _end_of(name: str, longest: int = 20) -> str:
    # The end of a name tells layers apart: "encoder.layer.11.output.dense".
    return name if len(name) <= longest else f"…{name[-(longest - 1) :]}"


def _row(track: Record, layers: Sequence[str]) -> Row:
    values, low, high = track["values"], track.get("low") or {}, track.get("high") or {}
    known = {layer: values[layer] for layer in layers if values.get(layer) is not None}
    band = track.get("band")
    scale = _Scale.over(known, low, high, band, log=track.get("scale") == "log")
    inside, outside, intervals, line = [], [], [], []
    after_gap = True
    for place, layer in enumerate(layers):
        if layer not in known:
            continue
        x, y = _x(place), scale.y(known[layer])
        (inside if _within(known[layer], band) else outside).append(f"M{x} {y}h0")
        if low.get(layer) is not None and high.get(layer) is not None:
            intervals.append(f"M{x} {scale.y(low[layer])}V{scale.y(high[layer])}")
        line.append(f"{'M' if after_gap else 'L'}{x} {y}")
        after_gap = False
    usual = f"{number(band[0])}–{number(band[1])}" if band else ""
    return Row(
        label=track["label"],
        usual=usual,
        alternative=_alternative(track["label"], known, len(outside), usual),
        top=short(scale.high),
        bottom=short(scale.low),
        shade=scale.shade(band) if band else None,
        line="".join(line),
        intervals="".join(intervals),
        inside="".join(inside),
        outside="".join(outside),
        texts=tuple(_text(known.get(layer), low.get(layer), high.get(layer)) for layer in layers),
    )


def _x(place: int) -> str:
    return f"{(place + 0.5) * _STEP:g}"


def _within(value: float, band: Sequence[float] | None) -> bool:
    return band is None or band[0] <= value <= band[1]


def _text(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NONE
    if low is None or high is None:
        return number(value)
    # A 95 % interval is about four standard errors wide.
    error = (high - low) / 4
    return f"{number(value, error)} [{number(low, error)}, {number(high, error)}]"


def _alternative(label: str, known: Mapping[str, float], outside: int, usual: str) -> str:
    if not known:
        return f"{label}: no values."
    least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    text = f"{label} of {len(known):,} layers: from {number(known[least])} in {least} to {number(known[most])} in {most}"
    return f"{text}; {outside:,} outside {usual}." if usual else f"{text}."


@dataclass(frozen=True)
class _Scale:
    """The vertical scale of a row."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(
        cls, values: Mapping[str, float], lows: Mapping[str, Any], highs: Mapping[str, Any], band: Any, *, log: bool
    ) -> _Scale:
        ends = [*lows.values(), *highs.values(), *(band or ())]
        points = [value for value in values.values() if value > 0 or not log]
        if not points:
            return cls(1.0, 10.0, log) if log else cls(0.0, 1.0, log)
        low, high = min(points), max(points)
        # Intervals and the band widen the scale, but may not flatten the values themselves.
        reach = (high / low if log else high - low) or (2.0 if log else abs(high) or 1.0)
        reach = max(reach, 2.0) if log else reach
        for end in ends:
            if end is not None and (end > 0 or not log):
                inside = low / reach <= end <= high * reach if log else low - reach <= end <= high + reach
                low, high = (min(low, end), max(high, end)) if inside else (low, high)
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - reach / 2, high + reach / 2)
        return cls(low, high, log)

    def y(self, value: float) -> str:
        """Return the height at which a value is drawn; what lies beyond the scale stands at its edge."""
        return f"{self._height(value):.4g}"

    def shade(self, band: Sequence[float]) -> tuple[float, float]:
        upper, lower = (0.0 if band[1] > self.high else self._height(band[1])), self._height(band[0])
        lower = _TALL if band[0] < self.low else lower
        return round(upper, 2), round(max(lower - upper, 0.5), 2)

    def _height(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0
        else:
            share = (value - self.low) / (self.high - self.low)
        return _EDGE + (1 - min(max(share, 0.0), 1.0)) * (_TALL - 2 * _EDGE)
