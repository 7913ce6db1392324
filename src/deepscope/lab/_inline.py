"""Tasks one after the other in this process: for a debugger, and for what is too small for workers."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from deepscope.lab._task import R, Task


class InlineExecutor:
    """Runs tasks in this process. There is no time-out, and a task that ends its process ends the run."""

    def __init__(self) -> None:
        self._done = 0.0

    def run(self, tasks: Sequence[Task[R]]) -> Generator[R, None, None]:
        """Yield what each task returns."""
        for task in tasks:
            self._done = 0.0
            yield task.run(self._tell)

    @property
    def at_once(self) -> int:
        """One."""
        return 1

    def done(self) -> float:
        """Return which part of the current task is done."""
        return self._done

    def _tell(self, done: float) -> None:
        self._done = done
