"""The literature that deepscope cites."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from deepscope.core.errors import UsageError, nearest


@cache
def references() -> dict[str, dict[str, Any]]:
    """Return every reference by its key, as CSL-JSON has it."""
    entries = json.loads((files("deepscope.core") / "references.json").read_text(encoding="utf-8"))
    return {entry["id"]: entry for entry in entries}


def cite(key: str) -> str:
    """Return a reference as one line of text: authors, year, title, where.

    Raises
    ------
    UsageError
        No such reference in ``references.json``.
    """
    entry = _entry(key)
    names = [author.get("family") or author["literal"] for author in entry["author"]]
    who = names[0] if len(names) == 1 else f"{names[0]} & {names[1]}" if len(names) == 2 else f"{names[0]} et al."
    year = entry["issued"]["date-parts"][0][0]
    place = entry.get("container-title") or entry.get("publisher") or entry.get("URL", "")
    end = "" if entry["title"].endswith("?") else "."
    return f"{who} ({year}). {entry['title']}{end} {place}."


def link(key: str) -> str:
    """Return the address of a reference: its DOI where it has one, else its URL, else ``""``.

    Raises
    ------
    UsageError
        No such reference in ``references.json``.
    """
    entry = _entry(key)
    return f"https://doi.org/{entry['DOI']}" if "DOI" in entry else str(entry.get("URL", ""))


def _entry(key: str) -> dict[str, Any]:
    try:
        return references()[key]
    except KeyError:
        raise UsageError("unknown reference", where=key, todo=nearest(key, references())) from None
