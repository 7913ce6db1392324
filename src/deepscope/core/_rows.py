"""The rows of the map: what the reading lists name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from deepscope.core.errors import UsageError, nearest


@cache
def rows() -> dict[str, dict[str, Any]]:
    """Return every row by its id: name, lists, source, kind, claim, group …."""
    entries = json.loads((files("deepscope.core") / "rows.json").read_text(encoding="utf-8"))
    return {entry["id"]: entry for entry in entries}


def row(key: str) -> dict[str, Any]:
    """Return one row.

    Raises
    ------
    UsageError
        No such row in ``rows.json``.
    """
    try:
        return rows()[key]
    except KeyError:
        raise UsageError("unknown row of the map", where=key, todo=nearest(key, rows())) from None
