"""Run a study: expand its scale into trials, run those that are not stored, judge, draw, store."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepscope.core import UsageError, Value, Verdict, home, one_line
from deepscope.lab._choose_executor import choose_executor, memory_for
from deepscope.lab._examine import Progress, silent
from deepscope.lab._machine import commit, hardware, versions
from deepscope.lab._protocol import Protocol, fitting, protocol_of
from deepscope.lab._provenance import differences, environments
from deepscope.lab._report_file import write_report
from deepscope.lab._store import OpenRun, earlier_trials, open_run
from deepscope.lab._study_progress import StudyProgress, expected_seconds
from deepscope.lab._study_result import StudyResult
from deepscope.lab._task import Executor, TrialTask
from deepscope.lab._trial_log import TrialLog
from deepscope.lab._trial_record import TrialRecord
from deepscope.report import study_page, verdict_sentence

if TYPE_CHECKING:
    import pandas as pd

    from deepscope.core import Study
    from deepscope.training import Tracker

#: Trials that are handed to a cluster together.
_LARGEST_BATCH = 16


@dataclass(frozen=True)
class StudyRun:
    """A study that was run.

    Attributes
    ----------
    record
        Everything as plain JSON: what ``deepscope study run --json`` prints.
    verdict
        Reproduced, not reproduced or inconclusive, with its criteria.
    trials
        One row per finished trial, as ``judge`` was given them.
    figure
        What ``draw`` drew, as SVG; ``""`` where it could not.
    path
        The run's directory.
    stored
        Whether all of it is there; False where the disk was full.
    """

    record: dict[str, Any]
    verdict: Verdict
    trials: pd.DataFrame
    figure: str
    path: Path
    stored: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the record."""
        return self.record

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page (``.html``) or the record (``.json``).

        Raises
        ------
        UsageError
            Another suffix.
        OSError
            The file cannot be written.
        """
        return write_report(path, self.record, lambda record: study_page(record, {"study": self.figure}))

    def __repr__(self) -> str:
        return f"StudyRun({self.record['study']}: {verdict_sentence(self.record)})"


def run_study(
    study: Study | str | Path,
    *,
    scale: str = "quick",
    executor: str = "pool",
    workers: int | None = None,
    address: str | None = None,
    device: str = "cpu",
    fresh: bool = False,
    settings: Mapping[str, Value] | None = None,
    seeds: int | None = None,
    timeout: float | None = None,
    memory_bytes: int | None = None,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
    command: str = "",
) -> StudyRun:
    """Put a claim to the test.

    Trials that are stored are not run again, so that a run that was stopped, at whatever moment, goes on where it was.

    Parameters
    ----------
    study
        An id of the atlas, a path of a ``.py`` file, or a ``Study``.
    scale
        ``"smoke"``, ``"quick"`` or ``"full"``.
    executor
        ``"inline"``: in this process. ``"pool"``: in local worker processes. ``"ray"``: on a Ray cluster.
    workers
        Of the pool; as many as there are processors unless given, and no more than these.
    address
        Of the Ray cluster.
    device
        Handed to the trials.
    fresh
        Run every trial anew.
    settings
        Fields to fix in every case: a modified protocol.
    seeds
        Number of seeds instead of the study's: a modified protocol.
    timeout
        Wall-clock seconds that a trial may take; the study's own unless given. Not enforced inline.
    memory_bytes
        What a trial may allocate; an equal share of the machine's memory for each worker unless given. Linux only.
    trackers
        Where each new trial is mirrored to.
    progress
        Told how many trials are done and how long the rest will take, and which part of the whole is done.
    command
        Kept in the record: the command that does this again.

    Returns
    -------
    StudyRun
        A trial that failed is in the record's ``failures``; the others are finished all the same.

    Raises
    ------
    UsageError
        Unknown study, scale, field or executor; Ray not installed or not reachable; a number out of range.
    DeepscopeError
        The study's file does not import, the store cannot be written, or no worker can be started.

    Notes
    -----
    Cost: that of the trials that are not stored; a few milliseconds more for each, and a few seconds to start workers.
    """
    protocol = protocol_of(study, scale=scale, settings=settings, seeds=seeds)
    machine = choose_executor(
        executor,
        workers,
        address,
        timeout=timeout,
        usual_timeout=protocol.study.timeout,
        largest_batch=_LARGEST_BATCH,
    )
    memory = memory_bytes if executor == "ray" else memory_for(machine.at_once, memory_bytes)
    tell = progress or silent
    mirrors = list(trackers)
    started = time.perf_counter()
    with _only_one(protocol.reference.id, tell):
        earlier, notes = earlier_trials(protocol.reference.id)
        if workers is not None and workers > machine.at_once:
            here = machine.at_once
            notes.append(f"{workers} workers were asked for; this machine has {here} processors, so {here} ran.")
        found = {} if fresh else _stored(protocol, earlier)
        origins = environments(protocol.reference.id, found.values())
        installed = versions()
        notes += differences(found.values(), origins, installed, device)
        head = {
            "scale": scale,
            "modified": protocol.modified,
            "settings": dict(protocol.settings),
            "seeds": seeds,
            "command": command or _command(protocol, seeds, device),
            "versions": installed,
            "hardware": hardware(),
            "commit": commit(),
            "device": device,
            "environments": origins,
        }
        with open_run("study", protocol.reference.id, head) as run:
            for known in found.values():
                run.log.append(known)
            tasks = [
                TrialTask(
                    study=protocol.reference,
                    identity=planned.identity,
                    code=planned.code,
                    case=planned.case,
                    seed=planned.seed,
                    run_id=run.id,
                    device=device,
                    memory_bytes=memory,
                )
                for planned in protocol.trials
                if planned.identity not in found
            ]
            seconds = expected_seconds(protocol, [record for records in earlier.values() for record in records])
            watch = StudyProgress(protocol, tasks, seconds, machine.at_once, tell)
            for made in _run_all(machine, tasks, watch):
                run.log.append(made)
                found[made.identity] = made
                if made.status == "finished":
                    _mirror(made, mirrors, notes)
            result = StudyResult(protocol, [found[planned.identity] for planned in protocol.trials], notes)
            record = result.record(
                head,
                reused=len(protocol.trials) - len(tasks),
                wall_seconds=time.perf_counter() - started,
                executor=executor,
                workers=machine.at_once,
                command=head["command"],
                path=run.path,
            )
            stored = _close(run, record, result.figure)
    return StudyRun(record, result.verdict, result.table, result.figure, run.path, stored)


def plan_study(
    study: Study | str | Path,
    *,
    scale: str = "quick",
    settings: Mapping[str, Value] | None = None,
    seeds: int | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """Say what ``run_study`` would run, what is stored, and what it would cost; nothing is run or written.

    Returns
    -------
    dict
        ``study``, ``scale``, ``modified``; numbers of ``cases``, ``seeds``, ``trials``, trials ``stored`` and
        ``to_run``; ``expected_cpu_seconds``, from earlier trials of the same case, else of any case, else None.
    """
    protocol = protocol_of(study, scale=scale, settings=settings, seeds=seeds)
    earlier, _ = earlier_trials(protocol.reference.id)
    found = {} if fresh else _stored(protocol, earlier)
    seconds = expected_seconds(protocol, [record for records in earlier.values() for record in records])
    to_run = [planned for planned in protocol.trials if planned.identity not in found]
    known = [seconds[planned.case] for planned in to_run]
    return {
        "study": protocol.reference.id,
        "scale": scale,
        "modified": protocol.modified,
        "cases": len({planned.case for planned in protocol.trials}),
        "seeds": len({planned.seed for planned in protocol.trials}),
        "trials": len(protocol.trials),
        "stored": len(protocol.trials) - len(to_run),
        "to_run": len(to_run),
        "expected_cpu_seconds": None if None in known else math.fsum(each for each in known if each is not None),
    }


def _stored(protocol: Protocol, earlier: Mapping[str, Sequence[TrialRecord]]) -> dict[str, TrialRecord]:
    """Return the latest stored record of each trial of the protocol that has one."""
    found = {}
    for planned in protocol.trials:
        its = [record for record in earlier.get(planned.identity, ()) if fitting(record.case, planned.case)]
        if its:
            found[planned.identity] = its[-1]
    return found


def _run_all(machine: Executor, tasks: Sequence[TrialTask], watch: StudyProgress) -> Iterator[TrialRecord]:
    if not tasks:
        return
    with watch.watching(machine):
        for record in machine.run(tasks):
            watch.ended(record)
            yield record


def _close(run: OpenRun[TrialLog], record: dict[str, Any], figure: str) -> bool:
    try:
        run.close(verdict_sentence(record), record, {"study": figure} if figure else {})
        whole = True
    except OSError as error:
        whole = False
        record["notes"].append(f"The run could not be stored whole: {error.strerror or error}.")
    if run.log.unwritten:
        record["notes"].append(
            f"{run.log.unwritten} trials could not be stored ({run.log.fault}); free some space and run again."
        )
    return whole and not run.log.unwritten


def _mirror(record: TrialRecord, trackers: list[Tracker], notes: list[str]) -> None:
    """Show a trial in each tracker; one that fails is shown no more: each further trial would wait for it again."""
    from deepscope.training import mirror_trial

    for tracker in tuple(trackers):
        try:
            mirror_trial(tracker, record.study, record.case, record.seed, record.values)
        except Exception as error:
            trackers.remove(tracker)
            notes.append(f"No longer mirrored to {type(tracker).__name__}: {one_line(error)}.")


@contextmanager
def _only_one(study: str, tell: Progress) -> Iterator[None]:
    """Let one run of a study at a time work; the next then finds its trials stored."""
    from filelock import FileLock, Timeout

    folder = home() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{study}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"Another run of {study} is at work; waiting for it, then using its trials.", 0.0)
            lock.acquire()
    except OSError as error:
        raise UsageError(
            f"the store cannot be written ({error.strerror or error})",
            where=str(home()),
            todo="Set DEEPSCOPE_HOME to a folder that is writable and has space.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _command(protocol: Protocol, seeds: int | None, device: str) -> str:
    reference = protocol.reference
    words = ["deepscope", "study", "run", str(reference.path or reference.id), "--scale", protocol.scale]
    for name, value in protocol.settings.items():
        words += ["--set", f"{name}={value}"]
    if seeds is not None:
        words += ["--seeds", str(seeds)]
    if device != "cpu":
        words += ["--device", device]
    return shlex.join(words)
