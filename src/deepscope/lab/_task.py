"""A trial to be run, as plain data that crosses process and machine borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepscope.core import Case, Study
from deepscope.studies import load_file, load_study

if TYPE_CHECKING:
    from deepscope.lab._trial_record import TrialRecord


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
    run
        Id of the run that asked for it.
    device
        As ``torch.device`` takes it.
    memory_bytes
        What the trial may allocate beyond what its process has; None for no limit.
    slot
        Where the trial writes how far it is, in what the executor shares with its workers.
    """

    study: StudyReference
    identity: str
    code: str
    case: Case
    seed: int
    run: str = ""
    device: str = "cpu"
    memory_bytes: int | None = None
    slot: int = 0


class Overdue(BaseException):
    """Raised in a trial that takes too long; no handler of its own should swallow it."""


def took_too_long(timeout: float) -> str:
    """Say why a trial was stopped."""
    return f"took longer than {timeout:g} s. Allow more with --timeout."


class Executor(Protocol):
    """Runs trials: in this process, in a pool of workers, on a cluster."""

    def run(self, tasks: Sequence[TrialTask]) -> Iterator[TrialRecord]:
        """Yield each trial's record as it ends, in any order; a trial that cannot be run has status ``"failed"``."""

    @property
    def at_once(self) -> int:
        """How many trials run at a time."""

    def done(self) -> float:
        """Return how many of the trials now running are done, as the sum of their fractions."""
