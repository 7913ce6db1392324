"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepscope.report._change import without_angles_not_measured
from deepscope.report._findings import entries, grouped
from deepscope.report._glance import glance
from deepscope.report._layer_data import as_table, layer_data
from deepscope.report._ledger import by_reason, facts, provenance
from deepscope.report._page import TableView, render
from deepscope.report._record import Record, cleaned
from deepscope.report._sentence import comparison_sentence
from deepscope.report._table import table


def comparison_page(record: Record, figure: str = "") -> str:
    """Write a comparison as one self-contained HTML page.

    Parameters
    ----------
    record
        A comparison as ``compare`` gives it: two subjects, the change of every tensor, the tables side by side, and
        the findings that appear and go; how alike their layers represent the data, where that was measured.
    figure
        Of the latter, an SVG as ``figures.to_svg`` makes it.

    Returns
    -------
    str
        HTML, with the same properties as an examination's page.
    """
    record = cleaned(record)
    weights: Sequence[Record] = record.get("weights") or ()
    tensors = [each["name"] for each in weights]
    tables = record.get("tables") or {}
    sections = {name: f"table-of-{index}" for index, name in enumerate(tables)}
    new = entries(record.get("findings_new") or (), tensors, sections, "new")
    gone = entries(record.get("findings_gone") or (), tensors, sections, "gone")
    counterparts = (record.get("representations") or {}).get("counterparts")
    picture = glance(tensors, _tracks(weights), new)
    if picture is None:
        new, gone = (tuple(entry.unplaced() for entry in listed) for listed in (new, gone))
    return render(
        "comparison.html",
        title=f"{record['a']['name']} against {record['b']['name']}",
        sentence=comparison_sentence(record),
        sides=[(side, {"name": record[side]["name"], "facts": facts(record[side])}) for side in ("a", "b")],
        new=grouped(new),
        gone=grouped(gone),
        glance=picture,
        glance_data=picture and layer_data(picture, new),
        glance_table=picture and TableView("table-glance", as_table(picture)),
        weights=TableView("table-weights", table(without_angles_not_measured(weights))),
        figure=figure,
        counterparts=counterparts and TableView("table-counterparts", table(counterparts)),
        tables=[
            {"name": name, "anchor": sections[name], "table": TableView(f"rows-{sections[name]}", table(rows))}
            for name, rows in tables.items()
        ],
        left_out=by_reason(record.get("left_out") or ()),
        command=record.get("command") or "",
        provenance=provenance(record),
    )


def _tracks(weights: Sequence[Record]) -> list[dict[str, Any]]:
    """Draw the relative change on a logarithmic scale, where equal tensors have no place, and the angles."""
    change = {each["name"]: each["relative_change"] for each in weights if each.get("relative_change")}
    tracks: list[dict[str, Any]] = [{"label": "relative change", "values": change, "scale": "log"}]
    for key, label in (
        ("cosine", "cosine of a and b"),
        ("left_angle", "angle of left directions (°)"),
        ("right_angle", "angle of right directions (°)"),
    ):
        values = {each["name"]: each[key] for each in weights if each.get(key) is not None}
        tracks.append({"label": label, "values": values, "scale": "linear"})
    return tracks
