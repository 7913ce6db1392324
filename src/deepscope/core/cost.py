"""What a measurement cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True)
class Cost:
    """Time and passes that a measurement took.

    Attributes
    ----------
    wall_seconds, cpu_seconds
        Elapsed time, and processor time of this process over all its threads.
    forward_passes, backward_passes
        Passes over the data, counted in batches.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    forward_passes: int = 0
    backward_passes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.forward_passes + other.forward_passes,
            self.backward_passes + other.backward_passes,
        )


class Stopwatch:
    """Measure a block's wall and CPU time; can be entered several times and adds up.

    >>> with Stopwatch() as watch:
    ...     total = sum(range(10))
    >>> watch.cost.wall_seconds >= 0
    True
    """

    def __init__(self) -> None:
        self.cost = Cost()

    def __enter__(self) -> Stopwatch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cost += Cost(time.perf_counter() - self._wall, time.process_time() - self._cpu)

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Add passes that were made."""
        self.cost += Cost(forward_passes=forward, backward_passes=backward)
