"""One trial, run in this process."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from deepscope.core import Case, DeepscopeError, Study, Value, derive_seed, home, one_line
from deepscope.lab._identity import code_of
from deepscope.lab._limits import memory_limit, peak_memory_since, restart_peak_memory
from deepscope.lab._returned import plain_values
from deepscope.lab._shared import shared
from deepscope.lab._task import StudyReference, TrialTask
from deepscope.lab._trial_record import TrialRecord
from deepscope.subject import seeded_generators

#: Told which part of the trial is done.
Tell = Callable[[float], None]


@dataclass
class LabRun:
    """What a trial is handed besides its case: ``core.TrialRun``.

    Attributes
    ----------
    seed, device, checkpoint
        As ``TrialRun`` says.
    tell
        Where ``progress`` goes.
    messages
        What ``log`` kept.
    """

    seed: int
    device: torch.device
    checkpoint: Path
    tell: Tell
    messages: list[str] = field(default_factory=list)

    @cached_property
    def generator(self) -> torch.Generator:
        """A generator on the CPU; cases of one seed get the same, so that what they draw alike is paired."""
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))

    def shared(self, make: Callable[..., Mapping[str, Any]], **key: Value) -> dict[str, Any]:
        """Return ``make(**key)``, made once for all trials."""
        return shared(make, **key)

    def progress(self, done: float) -> None:
        """Say which part of the trial is done, 0 to 1."""
        self.tell(min(max(float(done), 0.0), 1.0))

    def log(self, message: str) -> None:
        """Keep a line of text with the trial's record."""
        self.messages.append(str(message))


def checkpoint_path(study: str, identity: str) -> Path:
    """Return the file in which a trial may keep what it needs to go on after a crash."""
    return home() / "checkpoints" / study / f"{identity}.checkpoint"


def run_trial(task: TrialTask, tell: Tell | None = None) -> TrialRecord:
    """Run one trial and return its record; what goes wrong in it is the record's error.

    Global random generators are seeded before, and afterwards are as they were. A process that the trial forked ends
    here, so that it does not go on as a second worker.
    """
    pid = os.getpid()
    try:
        return _run(task, tell or _silent)
    finally:
        if os.getpid() != pid:
            os._exit(1)


def _run(task: TrialTask, tell: Tell) -> TrialRecord:
    run = LabRun(task.seed, torch.device(task.device), checkpoint_path(task.study.id, task.identity), tell)
    values: dict[str, Any] = {}
    error = ""
    restart_peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        study = _loaded(task.study, task.code, tuple(sorted(v for v in task.case.values() if isinstance(v, str))))
        run.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        tell(0.0)
        wall, cpu = time.perf_counter(), time.process_time()
        with seeded_generators(derive_seed(task.seed, "trial")), memory_limit(task.memory_bytes):
            values = plain_values(study.trial(task.case, run), where="the trial", taken=task.case)
    except (Exception, SystemExit) as problem:
        error = _explained(problem, task)
        run.messages += traceback.format_exc().splitlines()
    else:
        run.checkpoint.unlink(missing_ok=True)
    return record_of(
        task,
        values,
        error,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        peak_memory_bytes=peak_memory_since(),
        log=tuple(run.messages),
    )


def record_of(task: TrialTask, values: dict[str, Any], error: str, **measured: Any) -> TrialRecord:
    """Return the record of a trial that ended: finished, or failed where there is an error."""
    return TrialRecord(
        identity=task.identity,
        study=task.study.id,
        case=dict(task.case),
        seed=task.seed,
        status="failed" if error else "finished",
        values={} if error else values,
        error=error,
        device=task.device,
        run=task.run,
        **measured,
    )


@lru_cache(maxsize=64)
def _loaded(reference: StudyReference, code: str, texts: tuple[str, ...]) -> Study:
    """Load the study, once per process, and make sure that it is the one the trial's identity was made from."""
    study = reference.load()
    if code_of(study.trial, texts=texts) != code:
        raise DeepscopeError(
            "the study's code here is not what the run began with",
            where=str(reference.path or reference.id),
            todo="It was edited meanwhile, or this machine has another version: run the study again.",
        )
    return study


def _explained(error: BaseException, task: TrialTask) -> str:
    if isinstance(error, DeepscopeError):
        return str(error).replace("\n", ". ")
    said = one_line(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        allowed = f"{task.memory_bytes / 2**30:.3g} GiB" if task.memory_bytes else "there is"
        return f"needs more memory than {allowed} ({said}). Give it more with --memory, or use fewer workers."
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return f"{said} ({Path(last.filename).name}, line {last.lineno})" if last else said


def _silent(done: float) -> None:
    del done


def case_of(record: TrialRecord) -> Case:
    """Return the case of a stored trial."""
    return Case(**record.case)
