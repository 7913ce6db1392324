"""The store: one directory per run, written whole or as it grows. Never loads torch.

A study's run::

    with open_run("study", study, {"scale": scale, "modified": False, "settings": {}}) as run:
        run.log.append(record)                              # a TrialLog; as often as there are trials
        run.close(outcome, record, {"study": svg})          # once, when all is done

A watched training's is the same with ``open_run("watch", name, …)`` and a ``PointLog``. Until ``close`` the run is
listed as "not finished". A lock file in its directory is held from ``open_run`` to the end
of the block, or of the process.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, overload

from deepscope.core import DeepscopeError, UsageError, write_atomically
from deepscope.lab._draft import Draft, leftovers, remove
from deepscope.lab._line_log import LineLog
from deepscope.lab._point_log import PointLog
from deepscope.lab._runs import FIGURES, HEAD, LAYOUT, NOT_FINISHED, POINTS, RECORD, TRIALS, Run, runs, runs_folder
from deepscope.lab._trial_log import TrialLog
from deepscope.lab._trial_record import TrialRecord

if TYPE_CHECKING:
    from deepscope.lab._examination import Examination

Log = TypeVar("Log", bound=LineLog)


class OpenRun(Generic[Log]):
    """A run of a study, or a watched training, that is being written; a context manager.

    Attributes
    ----------
    id
        Name of its directory.
    path
        The directory.
    head
        What its ``run.json`` says.
    log
        Where its trials, or points, go.
    """

    def __init__(self, draft: Draft, head: Mapping[str, Any], log: Log) -> None:
        self._draft, self.head = draft, head
        self.id, self.path = draft.id, draft.path
        self.log = log

    def close(self, outcome: str, record: Mapping[str, Any], figures: Mapping[str, str]) -> None:
        """Write the record and the figures, then that the run is finished.

        Parameters
        ----------
        outcome
            One sentence, for lists.
        record
            The whole record, plain JSON.
        figures
            SVG by name.

        Raises
        ------
        OSError
            The store cannot be written, or the disk is full. The trials, or points, that were written stay.
        """
        self.log.close()
        if figures:
            (self.path / FIGURES).mkdir(exist_ok=True)
        for name, svg in figures.items():
            write_atomically(self.path / FIGURES / f"{name}.svg", svg, flush=False)
        # The record and the figures follow from the log; that, and the outcome, are flushed to the disk.
        write_atomically(self.path / RECORD, json.dumps(record, allow_nan=False), flush=False)
        _write_head(self.path, {**self.head, "outcome": outcome})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()
        self._draft.finish()


@overload
def open_run(kind: Literal["study"], name: str, head: Mapping[str, Any]) -> OpenRun[TrialLog]: ...
@overload
def open_run(kind: Literal["watch"], name: str, head: Mapping[str, Any]) -> OpenRun[PointLog]: ...
def open_run(kind: Literal["study", "watch"], name: str, head: Mapping[str, Any]) -> OpenRun[Any]:
    """Make a run's directory, with a ``run.json`` that says "not finished".

    Parameters
    ----------
    kind
        ``"study"`` or ``"watch"``.
    name
        The study's id, or the name of the network that trains.
    head
        What else ``run.json`` says, plain JSON: for a study its ``scale``, ``settings``, ``modified`` and ``seeds``,
        for a watched training what ``WatchHeadFields`` names.

    Raises
    ------
    UsageError
        The store cannot be written.

    Notes
    -----
    Cost: a millisecond.
    """
    head = {
        "layout": LAYOUT,
        "kind": kind,
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "outcome": NOT_FINISHED,
        **head,
    }
    try:
        draft = Draft(runs_folder(), name)
        try:
            _write_head(draft.path, head, flush=False)
            draft.publish()
        except BaseException:
            draft.discard()
            raise
    except OSError as error:
        raise UsageError(
            f"the store cannot be written ({error.strerror or error})",
            where=str(runs_folder()),
            todo="Free some space, or set DEEPSCOPE_HOME to a writable folder.",
        ) from error
    log = TrialLog(draft.path / TRIALS) if kind == "study" else PointLog(draft.path / POINTS)
    return OpenRun(draft, head, log)


def earlier_trials(study: str) -> tuple[dict[str, list[TrialRecord]], list[str]]:
    """Return the finished trials of all stored runs of a study, also of those that were killed or go on.

    Returns
    -------
    trials, reasons
        By identity, oldest first; a trial that later runs have copied is there once. Why directories or trials could
        not be read.
    """
    found, reasons = runs()
    trials: dict[str, list[TrialRecord]] = {}
    seen: set[tuple[str, str]] = set()
    for run in reversed(found):
        if (run.kind, run.name) != ("study", study):
            continue
        try:
            records, bad = run.trials()
        except DeepscopeError as error:
            reasons.append(str(error).replace("\n", ". "))
            continue
        if bad:
            reasons.append(run.unreadable(bad))
        for record in records:
            copied = bool(record.run) and (record.identity, record.run) in seen
            if record.status == "finished" and not copied:
                seen.add((record.identity, record.run))
                trials.setdefault(record.identity, []).append(record)
    return trials, reasons


def keep(examination: Examination) -> Run:
    """Store an examination: ``run.json``, ``record.json``, readings with their arrays, and figures.

    The directory appears under its name in one step, when all of it is written.

    Raises
    ------
    OSError
        The store cannot be written, or the disk is full; nothing is left behind.
    """
    from deepscope.report import sentence

    record = examination.to_dict()
    head = {
        "layout": LAYOUT,
        "kind": "examination",
        "name": str(record["subject"]["name"]),
        "date": record["date"],
        "outcome": sentence(record),
    }
    folder = runs_folder()
    for left in leftovers(folder):
        remove(left)
    draft = Draft(folder, head["name"])
    try:
        for instrument, reading in examination.readings.items():
            (draft.path / "readings" / instrument).mkdir(parents=True)
            reading.save(draft.path / "readings" / instrument)
        (draft.path / FIGURES).mkdir()
        for instrument, svg in examination.figures.items():
            (draft.path / FIGURES / f"{instrument}.svg").write_text(svg, encoding="utf-8")
        (draft.path / RECORD).write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
        _write_head(draft.path, head)
        draft.publish()
    except BaseException:
        draft.discard()
        raise
    draft.finish()
    if examination.tensor_log is not None:
        examination.tensor_log.discard()
    return Run(draft.id, "examination", head["name"], head["date"], head["outcome"], folder)


def _write_head(path: Path, head: Mapping[str, Any], *, flush: bool = True) -> None:
    write_atomically(path / HEAD, json.dumps(head, allow_nan=False, indent=1), flush=flush)
