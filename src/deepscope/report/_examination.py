"""The page of an examination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deepscope.report._findings import address, entries, grouped, reference
from deepscope.report._glance import glance
from deepscope.report._layer_data import as_table, layer_data
from deepscope.report._ledger import by_reason, cost_lines, facts, provenance
from deepscope.report._page import TableView, render
from deepscope.report._record import Record, cleaned, layers_of
from deepscope.report._sentence import sentence
from deepscope.report._table import table


def examination_page(record: Record, figures: Mapping[str, str]) -> str:
    """Write an examination as one self-contained HTML page.

    Parameters
    ----------
    record
        An examination as ``Examination.to_dict`` gives it, or as ``--json`` printed it.
    figures
        One SVG per instrument, by its name, as ``figures.to_svg`` makes them: each with a prefix of its own. An
        instrument without one gets its section without a figure.

    Returns
    -------
    str
        HTML. No request leaves the page; it needs no script, which only adds sorting, filtering and the reading of
        one layer after the other.

    Notes
    -----
    A table of more than 200 rows shows those that tell the most and carries the others as data.
    """
    record = cleaned(record)
    readings: Mapping[str, Any] = record["readings"]
    layers = layers_of(record)
    sections = {name: f"reading-{index}" for index, name in enumerate(readings)}
    listed = entries(record["findings"], layers, sections)
    tracks = [track for reading in readings.values() for track in reading.get("glance") or ()]
    picture = glance(layers, tracks, listed)
    if picture is None:
        listed = tuple(entry.unplaced() for entry in listed)
    return render(
        "examination.html",
        title=record["subject"]["name"] or "Examination",
        sentence=sentence(record),
        about=record["subject"].get("about") or "",
        facts=facts(record["subject"]),
        severities=Counter(entry.severity for entry in listed),
        measured=bool(readings),
        groups=grouped(listed),
        glance=picture,
        glance_data=picture and layer_data(picture, listed),
        glance_table=picture and TableView("table-glance", as_table(picture)),
        readings=[_section(name, readings[name], sections[name], figures, record["findings"]) for name in readings],
        left_out={name: by_reason(reading.get("left_out") or ()) for name, reading in readings.items()},
        not_run=record.get("not_run") or (),
        failed=frozenset(record.get("failed") or ()),
        cost=cost_lines(record.get("cost") or {}),
        command=record.get("command") or "",
        provenance=provenance(record),
    )


def _section(
    name: str, reading: Record, anchor: str, figures: Mapping[str, str], findings: Sequence[Record]
) -> dict[str, Any]:
    title = reading.get("title") or name
    own = [finding for finding in findings if finding["instrument"] == name]
    return {
        "name": name,
        "anchor": anchor,
        "title": title[:1].upper() + title[1:],
        "summary": reading.get("summary") or "",
        "how_to_read": reading.get("how_to_read") or "",
        "formula": (reading.get("formula") or "").strip(),
        "source": reference(reading.get("source") or ""),
        "link": address(reading.get("source") or ""),
        "figure": figures.get(name, ""),
        "table": TableView(f"table-{anchor}", table(reading.get("table") or (), own)),
        "cost": cost_lines(reading.get("cost") or {}),
        "left_out": len(reading.get("left_out") or ()),
    }
