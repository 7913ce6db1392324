"""Work to be done, as plain data that crosses process and machine borders."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deepscope.core import Case, Study
from deepscope.lab._trial_record import TrialRecord
from deepscope.studies import load_file, load_study

#: Told which part of a task is done, 0 to 1; first when the task itself has begun.
Tell = Callable[[float], None]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[R_co]):
    """What an executor runs, wherever it does: it crosses borders by pickle."""

    @property
    def identity(self) -> str:
        """What it is called, different from all others that are run with it."""

    def run(self, tell: Tell) -> R_co:
        """Do it; what goes wrong in it is part of what it returns."""

    def failed(self, why: str, *, wall_seconds: float = 0.0) -> R_co:
        """Return what stands for its result where it could not be run to its end."""


@dataclass(frozen=True)
class StudyReference:
    """Where a study is found: by its id in the atlas, or in a user's own file.

    Attributes
    ----------
    id
        Its id.
    path
        The user's file; None for a study of the atlas.
    """

    id: str
    path: Path | None = None

    def load(self) -> Study:
        """Import the study.

        Raises
        ------
        DeepscopeError
            It is not there, or does not import.
        """
        return load_study(self.id) if self.path is None else load_file(self.path)


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """One trial to be run.

    Attributes
    ----------
    study
        Where its study is found.
    identity, code
        Hash of the trial, and of the code that it was made from.
    case, seed
        What is run.
    run_id
        Id of the run that asked for it.
    device
        As ``torch.device`` takes it.
    memory_bytes
        What the trial may allocate beyond what its process has; None for no limit.
    """

    study: StudyReference
    identity: str
    code: str
    case: Case
    seed: int
    run_id: str = ""
    device: str = "cpu"
    memory_bytes: int | None = None

    def run(self, tell: Tell) -> TrialRecord:
        """Run the trial in this process."""
        from deepscope.lab._trial import run_trial

        return run_trial(self, tell)

    def failed(self, why: str, *, wall_seconds: float = 0.0) -> TrialRecord:
        """Return the record of a trial that was stopped, or whose worker died."""
        return self.record({}, why, wall_seconds=wall_seconds)

    def record(self, values: dict[str, Any], error: str, **measured: Any) -> TrialRecord:
        """Return the record of the trial when it has ended: finished, or failed where there is an error."""
        return TrialRecord(
            identity=self.identity,
            study=self.study.id,
            case=dict(self.case),
            seed=self.seed,
            status="failed" if error else "finished",
            values={} if error else values,
            error=error,
            device=self.device,
            run=self.run_id,
            **measured,
        )


class Overdue(BaseException):
    """Raised in a task that takes too long; no handler of its own should swallow it."""


def took_too_long(timeout: float) -> str:
    """Say why a task was stopped."""
    return f"took longer than {timeout:g} s. Allow more with --timeout."


class Executor(Protocol):
    """Runs tasks: in this process, in a pool of workers, on a cluster."""

    def run(self, tasks: Sequence[Task[R]]) -> Generator[R, None, None]:
        """Yield what each task returns as it ends, in any order; what its ``failed`` does where it cannot be run."""

    @property
    def at_once(self) -> int:
        """How many tasks run at a time."""

    def done(self) -> float:
        """Return how many of the tasks now running are done, as the sum of their fractions."""
