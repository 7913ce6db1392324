"""Recorded verdicts: ``<study>.json`` and ``<study>.svg`` in the repository's ``atlas/``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscope.core import SCALES, Criterion, DeepscopeError, Verdict, first_line, references, rows, write_atomically
from deepscope.lab._fitting import NewerError, read_fitting
from deepscope.lab._stored import AtlasFields, ResultFields

SCHEMA = 1
#: What is kept of a study's run. Its protocol and caption stand in its file.
_KEPT = tuple(name for name in ResultFields.__annotations__ if name != "schema")


@dataclass(frozen=True)
class AtlasRecord:
    """A recorded verdict.

    Attributes
    ----------
    record
        Verdict, criteria, cost, versions, hardware, date; ``identity``, the hash of the code that it was found with.
    figure
        SVG.
    """

    record: dict[str, Any]
    figure: str


def record_of(run: Mapping[str, Any], figure: str, identity: str) -> AtlasRecord:
    """Make the record of a study's run.

    Parameters
    ----------
    run
        What ``deepscope study run --json`` prints.
    figure
        SVG.
    identity
        Hash of the study's code.
    """
    cost = {name: run["cost"][name] for name in ("cpu_seconds", "peak_memory_bytes")}
    kept = {name: run[name] for name in _KEPT}
    return AtlasRecord(
        {"schema": SCHEMA, **kept, "cost": cost, "identity": identity, "figure_sha256": _sha256(figure)}, figure
    )


def write_record(folder: Path, made: AtlasRecord) -> Path:
    """Write a record and its figure; after a crash in between, the record says that the figure is not its own.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    name = made.record["study"]
    write_atomically(folder / f"{name}.svg", made.figure)
    return write_atomically(folder / f"{name}.json", json.dumps(made.record, indent=1, ensure_ascii=False) + "\n")


def read_records(folder: Path) -> dict[str, AtlasRecord]:
    """Read all records of a folder, by study; none where there is no folder.

    Raises
    ------
    DeepscopeError
        A record cannot be read, or its figure is missing or is another one's.
    """
    return {path.stem: read_record(path) for path in sorted(folder.glob("*.json"))}


def read_record(path: Path) -> AtlasRecord:
    """Read one record.

    Raises
    ------
    DeepscopeError
        It cannot be read, or its figure is missing or is another one's.
    """
    again = f"Make it again: deepscope atlas record {path.stem}"
    try:
        record = read_fitting(path, AtlasFields)
        fault = _fault(record, path.stem)
    except NewerError as error:
        raise DeepscopeError(
            f"a record was written by a newer deepscope ({error})", where=str(path), todo="Update deepscope."
        ) from error
    except (OSError, ValueError) as error:
        raise DeepscopeError(f"a record cannot be read ({first_line(error)})", where=str(path), todo=again) from error
    if fault:
        raise DeepscopeError(f"a record cannot be read ({fault})", where=str(path), todo=again)
    drawn = path.with_suffix(".svg")
    try:
        figure = drawn.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DeepscopeError(
            f"the figure of a record is missing ({first_line(error)})", where=str(drawn), todo=again
        ) from error
    if _sha256(figure) != record["figure_sha256"]:
        raise DeepscopeError("the figure is not the one that its record was made with", where=str(drawn), todo=again)
    return AtlasRecord(record, figure)


def _fault(record: Mapping[str, Any], study: str) -> str:
    """Say what keeps a record whose fields are of the right kinds from being shown; ``""`` where nothing does."""
    if record["scale"] not in SCALES[1:]:
        return f"it is of the scale {record['scale']!r}, which judges nothing"
    if record["study"] != study:
        return f"it is that of {record['study']!r}"
    if record["source"] not in references():
        return f"its source {record['source']!r} is no reference"
    unknown = [key for key in record["rows"] if key not in rows()]
    if unknown:
        return f"there is no row {unknown[0]!r}"
    try:
        derived = Verdict.of([Criterion.from_dict(each) for each in record["criteria"]], seeds=record["seeds"])
    except DeepscopeError as error:
        return f"its criteria: {first_line(error)}"
    if derived.outcome != record["verdict"]:
        return f"its criteria say {derived.outcome!r}, it says {record['verdict']!r}"
    return ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
