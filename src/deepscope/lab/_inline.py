"""Trials one after the other in this process: for a debugger, and for what is too small for workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deepscope.lab._task import TrialTask
from deepscope.lab._trial import run_trial
from deepscope.lab._trial_record import TrialRecord


class InlineExecutor:
    """Runs trials in this process. There is no time-out, and a trial that ends its process ends the run."""

    def __init__(self) -> None:
        self._done = 0.0

    def run(self, tasks: Sequence[TrialTask]) -> Iterator[TrialRecord]:
        """Yield each trial's record."""
        for task in tasks:
            self._done = 0.0
            yield run_trial(task, self._tell)

    @property
    def at_once(self) -> int:
        """One."""
        return 1

    def done(self) -> float:
        """Return which part of the current trial is done."""
        return self._done

    def _tell(self, done: float) -> None:
        self._done = done
