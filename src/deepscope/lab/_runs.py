"""The stored runs: listed, found, read. Never loads torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deepscope.core import DeepscopeError, UsageError, first_line, home, nearest
from deepscope.lab import _index
from deepscope.lab._fitting import NewerError, misfit, read_fitting, read_json
from deepscope.lab._index import Head
from deepscope.lab._point_log import read_points
from deepscope.lab._stored import ExaminationFields, HeadFields, Layout, StudyFields, WatchHeadFields
from deepscope.lab._trial_log import read_trials
from deepscope.lab._trial_record import TrialRecord
from deepscope.lab._watch_record import watch_record

T = TypeVar("T")

#: Version of the layout of a run's directory. 1: examinations. 2: studies too. 3: watched trainings too.
LAYOUT = 3
_REMOVE = "Remove its directory."
#: The outcome of a study or a watched training that goes on, or was killed.
NOT_FINISHED = "not finished"
HEAD, RECORD, TRIALS, POINTS, FIGURES = "run.json", "record.json", "trials.jsonl", "points.jsonl", "figures"
_FIELDS: Mapping[str, Any] = {"examination": ExaminationFields, "study": StudyFields}


@dataclass(frozen=True)
class Run:
    """One stored run: what ``run.json`` says.

    Attributes
    ----------
    id
        Name of its directory.
    kind
        ``"examination"``, ``"study"`` or ``"watch"``.
    name
        What was examined or watched, or the study's id.
    date
        When, ISO 8601 with time zone.
    outcome
        One sentence; ``"not finished"`` for a study or a training that goes on or was killed.
    folder
        The folder of all runs.
    """

    id: str
    kind: str
    name: str
    date: str
    outcome: str
    folder: Path

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.folder / self.id

    @property
    def finished(self) -> bool:
        """Whether all of it was done and stored."""
        return self.outcome != NOT_FINISHED

    def head(self) -> dict[str, Any]:
        """Return all that ``run.json`` says.

        Raises
        ------
        DeepscopeError
            It cannot be read, or was written by a newer deepscope.
        """
        return read_head(self.path)

    def record(self) -> dict[str, Any]:
        """Return the whole record, as ``examine --json`` or ``study run --json`` printed it.

        That of a watched training is made of its points each time: of one that was killed, up to the last.

        Raises
        ------
        DeepscopeError
            It is not there, cannot be read, or was written by a newer deepscope.
        """
        if self.kind == "watch":
            return watch_record(self.head(), self.points()[0])
        file = self.path / RECORD
        if not self.finished and not file.exists():
            raise DeepscopeError(
                "the run was not finished; its trials are stored",
                where=self.id,
                todo=f"Go on with: {self._again()}",
            )
        try:
            return read_fitting(file, _FIELDS[self.kind])
        except NewerError as error:
            raise DeepscopeError(
                f"written by a newer deepscope ({error})", where=str(file), todo="Update deepscope."
            ) from error
        except (OSError, ValueError) as error:
            # Whatever became of the record, it follows from the trials.
            stored = (self.path / TRIALS).exists()
            raise DeepscopeError(
                f"the run cannot be read ({first_line(error)})",
                where=str(file),
                todo=f"Its trials are stored; judge them again with: {self._again()}" if stored else _REMOVE,
            ) from error

    def _again(self) -> str:
        command = self.head().get("command") or f"deepscope study run {self.name}"
        return " ".join(word for word in command.split(" ") if word != "--fresh")

    def figures(self) -> dict[str, str]:
        """Return the figures that were drawn, as SVG by name: the instrument's, or ``"study"``."""
        return {file.stem: file.read_text(encoding="utf-8") for file in sorted((self.path / FIGURES).glob("*.svg"))}

    def unreadable(self, lines: int) -> str:
        """Say how many of its trials, or points, cannot be read; ``""`` where none is lost."""
        what, file = ("points", POINTS) if self.kind == "watch" else ("trials", TRIALS)
        return f"{lines} of the stored {what} cannot be read: {self.path / file}" if lines else ""

    def trials(self) -> tuple[list[TrialRecord], int]:
        """Return the trials of a study's run, and the number of lines that are no trial: see ``read_trials``.

        Raises
        ------
        DeepscopeError
            They cannot be read.
        """
        return self._read("trials", self.path / TRIALS, read_trials)

    def points(self) -> tuple[list[dict[str, Any]], int]:
        """Return the points of a watched training, and the number of lines that are none: see ``read_points``.

        Raises
        ------
        DeepscopeError
            They cannot be read.
        """
        return self._read("points", self.path / POINTS, read_points)

    @staticmethod
    def _read(what: str, file: Path, read: Callable[[Path], tuple[list[T], int]]) -> tuple[list[T], int]:
        try:
            return read(file)
        except OSError as error:
            raise DeepscopeError(
                f"the {what} cannot be read ({error.strerror or error})", where=str(file), todo="Make it readable."
            ) from error


def runs_folder() -> Path:
    """Return the folder of all runs; it may not exist yet."""
    return home() / "runs"


def tensor_logs() -> Path:
    """Return the folder of what examinations that are at work, or were stopped, have measured."""
    return home() / "tensors"


def runs() -> tuple[list[Run], list[str]]:
    """List stored runs, newest first, and directories that are not readable runs, with the reason.

    Raises
    ------
    UsageError
        The store itself cannot be read.

    Notes
    -----
    Cost: one look at each directory; only ``run.json`` files that are new or have changed since the last call are
    opened.
    """
    folder = runs_folder()
    known = _index.load(folder)
    heads: dict[str, Head] = {}
    broken = []
    for name in sorted(_directories(folder), reverse=True):
        stamp = _stamp(f"{folder}/{name}/{HEAD}")
        head = known.get(name)
        if head is None or head.stamp != stamp:
            try:
                head = _head_of(folder / name, stamp)
            except DeepscopeError as error:
                broken.append(str(error).replace("\n", ". "))
                continue
        heads[name] = head
    if heads != known:
        _index.save(folder, heads)
    return [Run(name, *head[1:], folder) for name, head in heads.items()], broken


def find_run(name: str) -> Run:
    """Find a run by its id, an unambiguous beginning or end of it, or ``"last"``.

    Raises
    ------
    UsageError
        None, or more than one, matches.
    DeepscopeError
        The one that matches cannot be read, or was written by a newer deepscope.
    """
    stored, _ = runs()
    if name == "last" and stored:
        return stored[0]
    folder = runs_folder()
    # Also those that are not readable: what is wrong with the one that was meant says more than that there is none.
    ids = sorted(_directories(folder), reverse=True)
    exact = [each for each in ids if each == name] or (ids[:1] if name == "last" else [])
    matching = exact or [each for each in ids if each.startswith(name) or each.endswith(name)]
    if len(matching) == 1:
        return Run(matching[0], *_head_of(folder / matching[0], "")[1:], folder)
    if matching:
        raise UsageError("several runs match", where=name, todo=f"Say which: {', '.join(matching[:5])}.")
    todo = nearest(name, ids[:5]) if ids else "Nothing is stored yet: run deepscope examine."
    raise UsageError("no such run", where=name, todo=todo)


def read_head(path: Path) -> dict[str, Any]:
    """Return what the ``run.json`` in a run's directory says.

    Raises
    ------
    DeepscopeError
        It cannot be read, or was written by a newer deepscope.
    """
    try:
        head: dict[str, Any] = read_json(path / HEAD)
        fault = misfit(head, Layout) or ("" if head["layout"] > LAYOUT else _misfit(head))
    except (OSError, ValueError) as error:
        fault = first_line(error)
    if fault:
        kept = [(what, name) for what, name in (("trials", TRIALS), ("points", POINTS)) if (path / name).exists()]
        todo = f"Mend it, or move it away: {kept[0][1]} holds its {kept[0][0]}." if kept else _REMOVE
        raise DeepscopeError(f"not a readable run ({fault})", where=str(path), todo=todo)
    if head["layout"] > LAYOUT:
        raise DeepscopeError(
            f"written by a newer deepscope (layout {head['layout']})", where=str(path), todo="Update deepscope."
        )
    return head


def _misfit(head: Mapping[str, Any]) -> str:
    return misfit(head, HeadFields) or (misfit(head, WatchHeadFields) if head["kind"] == "watch" else "")


def _head_of(path: Path, stamp: str) -> Head:
    head: Mapping[str, Any] = read_head(path)
    return Head(stamp, head["kind"], head["name"], head["date"], head["outcome"])


def _directories(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"the store cannot be read ({error.strerror or error})",
            where=str(folder),
            todo="Set DEEPSCOPE_HOME to a folder that can be read.",
        ) from error
    return [name for name in found if not name.startswith(".")]


def _stamp(file: str) -> str:
    """Return what changes whenever a file does; ``""`` where there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - ten thousand paths take their time to build
    except OSError:
        return ""
    # The clock of files is coarse, and two outcomes may be of one length: a file that was replaced has another inode.
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
