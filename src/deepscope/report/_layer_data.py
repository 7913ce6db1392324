"""The glance's values as text: for the reader of one layer, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepscope.report._findings import Entry
from deepscope.report._glance import Glance
from deepscope.report._numbers import NONE
from deepscope.report._table import SLICE, Column, Table


def as_table(picture: Glance) -> Table:
    """Return the glance as a table: a row per layer; where there are too many, evenly chosen ones are shown."""
    size = len(picture.layers)
    columns = [Column("name", "layer", False, picture.layers)]
    columns += [Column(row.label, row.label, True, row.texts) for row in picture.rows]
    return Table(tuple(columns), size, tuple(range(0, size, max(1, -(-size // SLICE)))))


def layer_data(picture: Glance, listed: Sequence[Entry]) -> dict[str, Any]:
    """Return what the page's script says about a layer: its values and its findings; it starts at the worst."""
    place = {layer: index for index, layer in enumerate(picture.layers)}
    said: dict[int, list[list[str]]] = {}
    for entry in listed:
        if entry.layer is not None:
            said.setdefault(place[entry.layer], []).append([entry.severity, entry.message, entry.anchor])
    return {
        "layers": list(picture.layers),
        "rows": [[row.label, ["" if text == NONE else text for text in row.texts]] for row in picture.rows],
        "findings": said,
        "start": next(iter(said), 0),
    }
