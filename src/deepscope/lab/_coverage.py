"""What of the map is demonstrated, and by what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from deepscope.core import DeepscopeError, nearest

#: Verdicts that say something about a claim; an inconclusive one demonstrates nothing.
DECIDED = ("reproduced", "not reproduced")
_SEE = re.compile(r"see (?P<rows>[^;]+)(?P<more>;.*)?", re.DOTALL)
_BETWEEN = re.compile(r"\s*(?:,|/|\band\b)\s*")


def evidence_by_row(
    rows: Mapping[str, Mapping[str, Any]],
    studies: Iterable[Mapping[str, Any]],
    instruments: Iterable[Mapping[str, Any]],
    specimens: Iterable[Mapping[str, Any]],
) -> dict[str, list[str]]:
    """Return what demonstrates each row of the map; nothing for a row that is still open.

    A study counts with a fresh record whose verdict is decided. An instrument or specimen counts for the rows that its
    pinning test is marked to demonstrate. A row whose claim says "see X" counts when X does; where the claim goes on
    after that, it must be demonstrated itself as well.

    Parameters
    ----------
    rows
        The map: row by id.
    studies
        With ``id``, ``rows``, ``record`` and ``stale``.
    instruments, specimens
        With ``name``, ``rows`` and ``demonstrates``, the rows that their tests are marked with.

    Returns
    -------
    dict
        ``"study:ID"``, ``"instrument:NAME"``, ``"specimen:NAME"`` or ``"row:ID"`` by row.

    Raises
    ------
    DeepscopeError
        A claim says "see X", and there is no row X.
    """
    own: dict[str, list[str]] = {key: [] for key in rows}
    for study in studies:
        if study["record"] and not study["stale"] and study["record"]["verdict"] in DECIDED:
            for key in study["rows"]:
                own[key].append(f"study:{study['id']}")
    for kind, found in (("instrument", instruments), ("specimen", specimens)):
        for each in found:
            for key in each["rows"]:
                if key in each["demonstrates"]:
                    own[key].append(f"{kind}:{each['name']}")
    return {key: _with_seen(key, rows, own, ()) for key in rows}


def _with_seen(
    key: str, rows: Mapping[str, Mapping[str, Any]], own: Mapping[str, list[str]], above: tuple[str, ...]
) -> list[str]:
    said = _SEE.fullmatch(rows[key]["claim"])
    if not said:
        return own[key]
    seen = _BETWEEN.split(said["rows"].strip())
    for each in seen:
        if each not in rows:
            raise DeepscopeError(
                "a row's claim refers to a row that does not exist",
                where=f"{key}: see {each}",
                todo=nearest(each, rows),
            )
    if not all(each not in above and _with_seen(each, rows, own, (*above, key)) for each in seen):
        return [] if said["more"] else own[key]
    if said["more"] and not own[key]:
        return []
    return [*own[key], *(f"row:{each}" for each in seen)]


def coverage_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Count the rows that are demonstrated.

    Parameters
    ----------
    rows
        Of the map, each with its ``evidence``.

    Returns
    -------
    dict
        ``rows`` and ``demonstrated``, numbers; ``by_group``, the same for each group; ``by_row``, the evidence.
    """
    by_group: dict[str, dict[str, int]] = {}
    by_row = {row["id"]: list(row["evidence"]) for row in rows}
    for row in rows:
        counts = by_group.setdefault(row["group"], {"rows": 0, "demonstrated": 0})
        counts["rows"] += 1
        counts["demonstrated"] += bool(row["evidence"])
    return {
        "rows": len(by_row),
        "demonstrated": sum(map(bool, by_row.values())),
        "by_group": by_group,
        "by_row": by_row,
    }
