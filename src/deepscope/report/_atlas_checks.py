"""What an atlas must be before a page of it is made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from deepscope.core import UsageError, nearest
from deepscope.report._atlas_words import STANDINGS
from deepscope.report._record import Record

# Names become those of files and parts of addresses.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RECORD = ("scale", "verdict", "criteria", "cases", "seeds", "trials")
_SVG = "{http://www.w3.org/2000/svg}svg"


def check(atlas: Record) -> None:
    """Refuse an atlas that would make a page that is broken, missing, or pointed to in vain.

    Raises
    ------
    UsageError
        A name that is no file name or that two share, a row or a piece of evidence that does not exist, a record that
        lacks something, a figure that is not one SVG element.
    """
    known = {
        "study": _names("study", (study["id"] for study in atlas["studies"])),
        "instrument": _names("instrument", (each["name"] for each in atlas["instruments"])),
        "specimen": _names("specimen", (each["name"] for each in atlas["specimens"])),
        "row": _names("row", (row["id"] for row in atlas["rows"])),
    }
    for study in atlas["studies"]:
        _rows(study["rows"], f"study {study['id']}", known["row"])
        _record(study)
        _figure(study)
    for kind in ("instrument", "specimen"):
        for each in atlas[f"{kind}s"]:
            _rows(each["rows"], f"{kind} {each['name']}", known["row"])
    for row in atlas["rows"]:
        for evidence in row["evidence"]:
            _evidence(evidence, row["id"], known)


def _names(kind: str, names: Iterable[str]) -> Sequence[str]:
    counts = Counter(names)
    for name, count in counts.items():
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"the {kind} has a name that cannot be that of a page",
                where=repr(name),
                todo="Use the letters a to z, digits, hyphens and underscores.",
            )
        if count > 1:
            raise UsageError(f"{count} {kind} entries have the same name", where=name, todo="Rename all but one.")
    return list(counts)


def _rows(rows: Iterable[str], where: str, known: Sequence[str]) -> None:
    for row in rows:
        if row not in known:
            raise UsageError(f"unknown row of the map: {row}", where=where, todo=nearest(row, known))


def _evidence(evidence: str, row: str, known: Mapping[str, Sequence[str]]) -> None:
    kind, _, name = evidence.partition(":")
    if name not in known.get(kind, ()):
        raise UsageError(
            f"the evidence does not exist: {evidence}", where=f"row {row}", todo=nearest(name, known.get(kind, ()))
        )


def _record(study: Record) -> None:
    record: Any = study["record"]
    if record is None:
        return
    missing = [key for key in _RECORD if key not in record]
    if missing or record["verdict"] not in STANDINGS[:-1]:
        what = f"lacks {', '.join(missing)}" if missing else f"has no verdict but {record['verdict']!r}"
        raise UsageError(
            f"the record {what}",
            where=f"study {study['id']}",
            todo=f"Record it again: deepscope atlas record {study['id']}",
        )


def _figure(study: Record) -> None:
    if not study["figure"]:
        return
    try:
        whole = ElementTree.fromstring(study["figure"]).tag == _SVG
    except ElementTree.ParseError:
        whole = False
    if not whole:
        raise UsageError(
            "the figure is not one SVG element",
            where=f"study {study['id']}",
            todo=f"Record it again: deepscope atlas record {study['id']}",
        )
