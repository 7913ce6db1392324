"""The network at a glance: layers along x in forward order, one thin row per quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepscope.core import SEVERITIES
from deepscope.report._findings import Entry
from deepscope.report._numbers import NONE, number, short
from deepscope.report._record import Record
from deepscope.report._scale import TALL, Scale

#: Up to this many layers, every finding's mark is a link of its own; beyond, marks are strokes in two lanes.
LINKED_MARKS = 80

_JOINED = 150  # up to this many layers, a faint line leads from dot to dot

_LEVEL = 90  # characters of names that fit side by side below a page's rows
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
        The names that fit below, without what all names begin with.
    common
        What all names begin with.
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
    common: str
    level: bool
    width: float
    tall: float
    dot: float

    @property
    def longest(self) -> int:
        """Characters of the longest name below the rows."""
        return max(len(tick.name) for tick in self.ticks)

    @property
    def legend(self) -> str:
        """What is drawn besides the dots."""
        text = ", the line through it its 95 % interval" if any(row.intervals for row in self.rows) else ""
        if any(row.usual for row in self.rows):
            text += ", the shaded band the range in which a value is unremarkable; hollow dots lie outside it"
        return text

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
    common = _common_block(layers)
    names = [_end_of(layer.removeprefix(common)) for layer in layers]
    level = sum(len(name) + 2 for name in names) <= _LEVEL
    return Glance(
        layers=tuple(layers),
        rows=rows,
        marks=tuple(_mark(index[layer], count, entry) for layer, entry in worst.items()) if few else (),
        lanes=() if few else _lanes(entries, index),
        ticks=_ticks(names, level=level),
        common=common,
        level=level,
        width=count * _STEP,
        tall=TALL,
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
    return Mark(
        _left(index, count), entry.severity, entry.anchor, f"{entry.severity} in {entry.layer}: {entry.message}"
    )


def _lanes(entries: Sequence[Entry], index: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    lanes = []
    for severity in ("problem", "warning"):
        places = {index[each.layer] for each in entries if each.layer is not None and each.severity == severity}
        lanes.append((severity, "".join(f"M{_x(place)} 0V10" for place in sorted(places))))
    return tuple(lanes)


def _ticks(names: Sequence[str], *, level: bool) -> tuple[Tick, ...]:
    count = len(names)
    # 34 slanted names fit a page's width, a third of them a telephone's.
    step = 1 if level else max(1, math.ceil(count / 34))
    places = range(0, count, step)
    coarse = math.ceil(sum(len(name) + 2 for name in names) / (_LEVEL * 0.4)) if level else math.ceil(len(places) / 11)
    return tuple(
        Tick(_left(place, count), names[place], 0 if order % coarse == 0 else 1) for order, place in enumerate(places)
    )


def _common_block(layers: Sequence[str]) -> str:
    """Return what all names begin with, up to a dot, so that it need not be said for each."""
    if len(layers) < 2:
        return ""
    first, last = min(layers), max(layers)
    length = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)
    return first[: first.rfind(".", 0, length) + 1]


def _end_of(name: str, longest: int = 20) -> str:
    # The end of a name tells layers apart: "encoder.layer.11.output.dense".
    return name if len(name) <= longest else f"…{name[-(longest - 1) :]}"


def _row(track: Record, layers: Sequence[str]) -> Row:
    values, low, high = track["values"], track.get("low") or {}, track.get("high") or {}
    known = {layer: values[layer] for layer in layers if values.get(layer) is not None}
    band = track.get("band")
    scale = Scale.over(known, low, high, band, log=track.get("scale") == "log")
    inside: list[str] = []
    outside: list[str] = []
    intervals: list[str] = []
    line: list[str] = []
    for place, layer in enumerate(layers):
        if layer not in known:
            continue
        x, y = _x(place), scale.y(known[layer])
        (inside if _within(known[layer], band) else outside).append(f"M{x} {y}h0")
        if low.get(layer) is not None and high.get(layer) is not None:
            intervals.append(f"M{x} {scale.y(low[layer])}V{scale.y(high[layer])}")
        line.append(f"{'L' if line else 'M'}{x} {y}")
    usual = f"{number(band[0])}–{number(band[1])}" if band else ""
    return Row(
        label=track["label"],
        usual=usual,
        alternative=_alternative(track["label"], known, len(outside), usual),
        top=short(scale.high),
        bottom=short(scale.low),
        shade=scale.shade(band) if band else None,
        line="".join(line) if len(layers) <= _JOINED else "",
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
    text = (
        f"{label} of {len(known):,} layers: from {number(known[least])} in {least} to {number(known[most])} in {most}"
    )
    return f"{text}; {outside:,} outside {usual}." if usual else f"{text}."
