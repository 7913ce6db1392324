"""Run a study as its file says it, and record the verdict in the repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscope.core import SCALES, DeepscopeError, UsageError, nearest
from deepscope.lab._atlas import identity_of
from deepscope.lab._atlas_records import read_record, record_of, write_record
from deepscope.lab._examine import Progress
from deepscope.lab._repository import records_folder
from deepscope.studies import Heading, catalog

#: Scales that give a verdict.
RECORDED = SCALES[1:]


@dataclass(frozen=True)
class Recorded:
    """What became of a study that was to be recorded.

    Attributes
    ----------
    study
        Its id.
    record
        The record as it stands now.
    path
        Its file.
    kept
        Why the record that was there was kept; ``""`` where it was written.
    """

    study: str
    record: dict[str, Any]
    path: Path
    kept: str = ""


def unrecorded(scale: str, folder: Path | None = None) -> tuple[str, ...]:
    """Return the studies that have no fresh record of this scale or a larger one.

    Raises
    ------
    DeepscopeError
        A study's file cannot be read. A record that cannot be read is one that is missing.
    """
    place = folder or records_folder()
    return tuple(heading.id for heading in catalog() if not _kept(heading, scale, place))


def record_study(
    name: str,
    *,
    scale: str = "quick",
    workers: int | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Recorded:
    """Run a study of the atlas, and write its record and its figure.

    Trials that are stored are not run again. A fresh record of a larger scale is kept.

    Parameters
    ----------
    name
        An id of the atlas.
    scale
        ``"quick"`` or ``"full"``.
    workers, progress
        As in ``run_study``.
    folder
        Where to; the repository's ``atlas/`` unless given.

    Raises
    ------
    UsageError
        Unknown study, a scale that gives no verdict, or a folder that cannot be written.
    DeepscopeError
        A trial failed, the figure could not be drawn, or the study was edited while it ran: nothing is recorded.
    """
    from deepscope.lab._study import run_study

    heading = _heading(name)
    if scale not in RECORDED:
        raise UsageError(f"nothing is judged at the scale {scale!r}", where=name, todo="Record it at quick or full.")
    place = folder or records_folder()
    _require_writable(place)
    kept = _kept(heading, SCALES[SCALES.index(scale) + 1], place) if scale != SCALES[-1] else None
    if kept:
        why = f"a fresh record of the scale {kept['scale']} is there"
        return Recorded(name, kept, place / f"{name}.json", why)
    identity = identity_of(heading)
    run = run_study(name, scale=scale, workers=workers, progress=progress)
    fault = _fault(run.record, run.figure)
    if not fault and identity_of(_heading(name)) != identity:
        fault = "its code was edited while it ran"
    if fault:
        raise DeepscopeError(
            f"the study is not recorded ({fault})", where=name, todo=f"Mend it, and look with: {run.record['command']}"
        )
    made = record_of(run.record, run.figure, identity)
    try:
        return Recorded(name, made.record, write_record(place, made))
    except OSError as error:
        raise _unwritable(place, error.strerror or str(error)) from error


def _require_writable(folder: Path) -> None:
    """Refuse a folder before the work is done."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK):
        raise _unwritable(folder, "it is not writable")


def _unwritable(folder: Path, why: str) -> UsageError:
    return UsageError(f"records cannot be written ({why})", where=str(folder), todo="Give another folder: --records.")


def _heading(name: str) -> Heading:
    headings = {heading.id: heading for heading in catalog()}
    if name not in headings:
        raise UsageError("unknown study", where=name, todo=nearest(name, headings))
    return headings[name]


def _kept(heading: Heading, scale: str, folder: Path) -> dict[str, Any] | None:
    """Return the fresh record of a scale, or of a larger one, where there is one."""
    try:
        found = read_record(folder / f"{heading.id}.json").record
    except DeepscopeError:
        return None
    large = SCALES.index(found["scale"]) >= SCALES.index(scale)
    return found if large and found["identity"] == identity_of(heading) else None


def _fault(record: dict[str, Any], figure: str) -> str:
    if record["modified"]:
        return "its protocol was modified"
    if record["failed"]:
        return f"{record['failed']} of its trials failed"
    return "" if figure else "its figure could not be drawn"
