"""The store: one directory per run. Never loads torch."""

from __future__ import annotations

import datetime
import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepscope.core import DeepscopeError, UsageError, home, nearest
from deepscope.report import sentence

if TYPE_CHECKING:
    from deepscope.lab._examination import Examination

#: Version of the layout of a run's directory.
LAYOUT = 1
_STALE_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Run:
    """One stored run: what ``run.json`` says.

    Attributes
    ----------
    id
        Name of its directory.
    kind
        ``"examination"``.
    name
        What was examined.
    date
        When, ISO 8601 with time zone.
    outcome
        One sentence.
    path
        Its directory.
    """

    id: str
    kind: str
    name: str
    date: str
    outcome: str
    path: Path

    def record(self) -> dict[str, Any]:
        """Return the whole record, as ``examine --json`` printed it.

        Raises
        ------
        DeepscopeError
            It is not there or cannot be read.
        """
        file = self.path / "record.json"
        try:
            record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            for part in ("schema", "readings", "findings"):
                record[part]
            record["subject"]["name"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeepscopeError(
                f"the run cannot be read ({error})", where=str(file), todo="Remove its directory."
            ) from error
        return record

    def figures(self) -> dict[str, str]:
        """Return the figures that were drawn, as SVG by instrument."""
        return {file.stem: file.read_text(encoding="utf-8") for file in sorted((self.path / "figures").glob("*.svg"))}


def runs_folder() -> Path:
    """Return the folder of all runs; it may not exist yet."""
    return home() / "runs"


def keep(examination: Examination) -> Run:
    """Store an examination: ``run.json``, ``record.json``, readings with their arrays, and figures.

    The directory appears under its name in one step, when all of it is written.

    Raises
    ------
    OSError
        The store cannot be written, or the disk is full; nothing is left behind.
    """
    record = examination.to_dict()
    folder = runs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    name = str(record["subject"]["name"])
    # To the microsecond, so that names sort by time.
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    run_id = f"{stamp}-{_slug(name)}-{secrets.token_hex(2)}"
    _sweep(folder)
    draft = folder / f".{run_id}.part"
    try:
        draft.mkdir()
        for instrument, reading in examination.readings.items():
            (draft / "readings" / instrument).mkdir(parents=True)
            reading.save(draft / "readings" / instrument)
        (draft / "figures").mkdir()
        for instrument, svg in examination.figures.items():
            (draft / "figures" / f"{instrument}.svg").write_text(svg, encoding="utf-8")
        (draft / "record.json").write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
        head = {
            "layout": LAYOUT,
            "kind": "examination",
            "name": name,
            "date": record["date"],
            "outcome": sentence(record),
        }
        (draft / "run.json").write_text(json.dumps(head, allow_nan=False, indent=1), encoding="utf-8")
        draft.rename(folder / run_id)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return _read(folder / run_id)


def runs() -> tuple[list[Run], list[str]]:
    """List stored runs, newest first, and directories that are not readable runs, with the reason."""
    found, broken = [], []
    folder = runs_folder()
    for path in sorted(folder.iterdir() if folder.is_dir() else (), reverse=True):
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            found.append(_read(path))
        except DeepscopeError as error:
            broken.append(str(error).replace("\n", ". "))
    return found, broken


def find_run(name: str) -> Run:
    """Find a run by its id, an unambiguous beginning or end of it, or ``"last"``.

    Raises
    ------
    UsageError
        None, or more than one, matches.
    """
    stored, _ = runs()
    if name == "last" and stored:
        return stored[0]
    exact = [run for run in stored if run.id == name]
    matching = exact or [run for run in stored if run.id.startswith(name) or run.id.endswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError("several runs match", where=name, todo=f"Say which: {', '.join(r.id for r in matching[:5])}.")
    todo = nearest(name, [run.id for run in stored[:5]]) if stored else "Nothing is stored yet: run deepscope examine."
    raise UsageError("no such run", where=name, todo=todo)


def _read(path: Path) -> Run:
    file = path / "run.json"
    try:
        head: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if head["layout"] > LAYOUT:
            raise DeepscopeError(
                f"written by a newer deepscope (layout {head['layout']})", where=str(path), todo="Update deepscope."
            )
        return Run(path.name, head["kind"], head["name"], head["date"], head["outcome"], path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeepscopeError(
            f"not a readable run ({type(error).__name__}: {error})", where=str(path), todo="Remove its directory."
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed while writing have left, once nobody can be writing it any more."""
    for left in folder.glob(".*.part"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:32] or "subject"
