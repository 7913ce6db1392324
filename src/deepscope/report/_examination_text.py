"""An examination in a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepscope.core import SEVERITIES
from deepscope.report._findings import Entry, entries, grouped
from deepscope.report._ledger import by_reason, cost_lines
from deepscope.report._numbers import how_many, short
from deepscope.report._record import Record, cleaned, layers_of
from deepscope.report._screen import SIGNS, STYLES, WHERE_ALL_IS, Screen
from deepscope.report._sentence import sentence
from deepscope.report._table import table

if TYPE_CHECKING:
    from rich.console import Console

_FINDINGS = 12
_ROWS = 8


def examination_text(record: Record, console: Console) -> None:
    """Write an examination to a terminal: the sentence, the findings, the glance, the most telling rows, the cost.

    Parameters
    ----------
    record
        An examination as ``Examination.to_dict`` gives it.
    console
        Where to; its width, its colours (``NO_COLOR`` too) and its character set are respected.
    """
    record = cleaned(record)
    screen = Screen(console)
    layers = layers_of(record)
    listed = entries(record["findings"], layers, {})
    screen.line((sentence(record), "bold"))
    if record["subject"].get("about"):
        screen.line((record["subject"]["about"], "dim"))
    if listed:
        screen.blank()
        screen.findings(grouped(listed), _FINDINGS)
    _glance(screen, record["readings"], layers, listed)
    for name, reading in record["readings"].items():
        screen.heading(f"{name}: {reading.get('title') or name}")
        if reading.get("summary"):
            screen.line(reading["summary"], indent=2)
        own = [finding for finding in record["findings"] if finding["instrument"] == name]
        screen.table(table(reading.get("table") or (), own, limit=_ROWS))
    _ledger(screen, record)
    if record.get("cost"):
        screen.heading("Cost")
        screen.line(cost_lines(record["cost"]), indent=2)


def _glance(screen: Screen, readings: Mapping[str, Any], layers: Sequence[str], listed: Sequence[Entry]) -> None:
    tracks = [track for reading in readings.values() for track in reading.get("glance") or () if track["values"]]
    if not layers or not tracks:
        return
    label = min(max(len(track["label"]) for track in tracks), 26, screen.width // 3)
    room = max(screen.width - label - 2 - 2 - 19, 8)
    bins = _bins(layers, room)
    per = -(-len(layers) // len(bins))
    gap = " " if 2 * len(bins) <= room else ""
    screen.heading("The network at a glance")
    across = "one column per layer" if per == 1 else f"one column for every {per} layers, its most unusual value"
    screen.line((f"{layers[0]} to {layers[-1]}, {across}", "dim"), indent=2)
    _marks(screen, bins, listed, label, gap)
    for track in tracks:
        values = [_extreme(track["values"], part) for part in bins]
        known = [value for value in track["values"].values() if value is not None]
        drawn = gap.join(screen.blocks(values, log=track.get("scale") == "log"))
        ends = f"{short(min(known))} to {short(max(known))}" if known else ""
        screen.line(f"{_label(track['label'], label):<{label}}  ", (drawn, "cyan"), (f"  {ends}", "dim"), indent=2)


def _label(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _bins(layers: Sequence[str], room: int) -> list[Sequence[str]]:
    per = -(-len(layers) // room)
    return [layers[start : start + per] for start in range(0, len(layers), per)]


def _extreme(values: Mapping[str, float], part: Sequence[str]) -> float | None:
    inside = [values[layer] for layer in part if values.get(layer) is not None]
    if len(inside) < 2:
        return inside[0] if inside else None
    middle = statistics.median(value for value in values.values() if value is not None)
    return max(inside, key=lambda value: abs(value - middle))


def _marks(screen: Screen, bins: Sequence[Sequence[str]], listed: Sequence[Entry], label: int, gap: str) -> None:
    worst: dict[str, str] = {}
    for entry in reversed(listed):  # the worst come first, and shall stay
        if entry.layer is not None and entry.severity != "note":
            worst[entry.layer] = entry.severity
    parts: list[str | tuple[str, str]] = [f"{'findings':<{label}}  "[: label + 2]]
    for part in bins:
        here = min((worst[layer] for layer in part if layer in worst), key=SEVERITIES.index, default="")
        parts.append((SIGNS[here], STYLES[here]) if here else " ")
        parts.append(gap)
    if worst:
        screen.line(*parts, indent=2)


def _ledger(screen: Screen, record: Record) -> None:
    left_out = {name: by_reason(reading.get("left_out") or ()) for name, reading in record["readings"].items()}
    if any(left_out.values()):
        screen.heading("Left out")
        for name, reasons in left_out.items():
            for reason, names in reasons:
                more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
                screen.line((f"{name}: ", "dim"), f"{', '.join(names[:2])}{more}: {reason}", indent=2)
    if record.get("not_run"):
        screen.heading("Not run")
        for each in record["not_run"][:_FINDINGS]:
            failed = " (failed)" if each["name"] in (record.get("failed") or ()) else ""
            screen.line((f"{each['name']}{failed}: ", "dim"), each["reason"], indent=2)
        if len(record["not_run"]) > _FINDINGS:
            rest = how_many(len(record["not_run"]) - _FINDINGS, "more instrument")
            screen.line((f"… and {rest} ({WHERE_ALL_IS})", "dim"), indent=2)
