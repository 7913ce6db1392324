"""One trial, run in this process."""

from __future__ import annotations

import math
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from deepscope.core import DeepscopeError, Study, Value, derive_seed, home, one_line
from deepscope.lab._identity import code_of
from deepscope.lab._limits import memory_limit, peak_memory_since, restart_peak_memory, same_conditions
from deepscope.lab._returned import plain_values
from deepscope.lab._shared import shared
from deepscope.lab._task import Overdue, StudyReference, Tell, TrialTask
from deepscope.lab._trial_record import TrialRecord
from deepscope.subject import seeded_generators


@dataclass
class LabRun:
    """What a trial is handed besides its case: ``core.TrialRun``.

    Attributes
    ----------
    seed, device
        As ``TrialRun`` says.
    file
        The trial's checkpoint; it need not exist.
    tell
        Where ``progress`` goes.
    unchanged
        Raises where the study's files are no longer those that were imported.
    messages
        What ``log`` kept.
    """

    seed: int
    device: torch.device
    file: Path
    tell: Tell
    unchanged: Callable[[], None]
    messages: list[str] = field(default_factory=list)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file; its folder is there."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return self.file

    @cached_property
    def generator(self) -> torch.Generator:
        """A generator on the CPU; cases of one seed get the same, so that what they draw alike is paired."""
        return torch.Generator().manual_seed(derive_seed(self.seed, "trial"))

    def shared(self, make: Callable[..., Mapping[str, Any]], **key: Value) -> dict[str, Any]:
        """Return ``make(**key)``, made once for all trials."""
        # It is stored under what its file says now, and must be what was imported.
        self.unchanged()
        return shared(make, **key)

    def progress(self, done: float) -> None:
        """Say which part of the trial is done, 0 to 1."""
        if math.isfinite(done):
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
    checkpoint = checkpoint_path(task.study.id, task.identity)
    values: dict[str, Any] = {}
    error = ""
    messages: list[str] = []
    restart_peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        texts = tuple(sorted(value for value in task.case.values() if isinstance(value, str)))
        study = _loaded(task.study, task.code, texts)
        run = LabRun(
            task.seed,
            torch.device(task.device),
            checkpoint,
            tell,
            lambda: _require_code(study, task.study, task.code, texts),
            messages,
        )
        tell(0.0)
        wall, cpu = time.perf_counter(), time.process_time()
        with (
            same_conditions(),
            seeded_generators(derive_seed(task.seed, "trial")),
            memory_limit(task.memory_bytes),
        ):
            values = plain_values(study.trial(task.case, run), where="the trial", taken=task.case)
        # What a trial imports while it runs may have been edited since its identity was made.
        run.unchanged()
    except (KeyboardInterrupt, Overdue):
        raise
    except BaseException as problem:
        # A trial may raise anything, even what ends a process or a generator.
        error = _explained(problem, task)
        messages += _traceback(problem)
    else:
        _remove(checkpoint)
    return task.record(
        values,
        error,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        peak_memory_bytes=peak_memory_since(),
        log=tuple(messages),
    )


@lru_cache(maxsize=64)
def _loaded(reference: StudyReference, code: str, texts: tuple[str, ...]) -> Study:
    """Load the study, once per process, and make sure that it is the one the trial's identity was made from."""
    study = reference.load()
    _require_code(study, reference, code, texts)
    return study


def _require_code(study: Study, reference: StudyReference, code: str, texts: tuple[str, ...]) -> None:
    if code_of(study.trial, texts=texts) != code:
        raise DeepscopeError(
            "the study's code here is not what the run began with",
            where=str(reference.path or reference.id),
            todo="It was edited meanwhile, or this machine has another version: run the study again.",
        )


def _explained(error: BaseException, task: TrialTask) -> str:
    if isinstance(error, DeepscopeError):
        return str(error).replace("\n", ". ")
    said = _said(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        allowed = f"{task.memory_bytes / 2**30:.3g} GiB" if task.memory_bytes else "there is"
        return f"needs more memory than {allowed} ({said}). Give it more with --memory, or use fewer workers."
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return f"{said} ({Path(last.filename).name}, line {last.lineno})" if last else said


def _said(error: BaseException) -> str:
    try:
        return one_line(error)
    except Exception:
        # Its own __str__ fails.
        return type(error).__name__


def _traceback(error: BaseException) -> list[str]:
    lines = [line for part in traceback.format_tb(error.__traceback__) for line in part.splitlines()]
    return [*lines, _said(error)]


def _remove(checkpoint: Path) -> None:
    with suppress(OSError):
        if checkpoint.is_dir():
            shutil.rmtree(checkpoint)
        else:
            checkpoint.unlink(missing_ok=True)


def _silent(done: float) -> None:
    del done
