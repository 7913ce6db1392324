"""The share of a training's time that measuring may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class OverheadBudget:
    """Keeps account of the time that measuring takes beside a training; a context manager around what is to be paid.

    With T the time since ``start`` outside of its blocks and M that inside of them, ``affords(expected)`` says whether
    M + expected ≤ ``overhead`` · T. Where nothing is begun that it does not afford, M stays at or below
    ``overhead`` · T but for what the first measurement, whose cost nobody knows, takes, or another one longer than
    expected; that is a debt, paid before the next is begun.

    Parameters
    ----------
    overhead
        The promised M / T, above 0.
    clock
        Gives seconds.

    Attributes
    ----------
    overhead, clock
        As above.
    """

    def __init__(self, overhead: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.overhead = overhead
        self.clock = clock
        self._started = clock()
        self._spent = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Begin the account."""
        self._started, self._spent = self.clock(), 0.0

    @property
    def spent(self) -> float:
        """M, in seconds, what the present block has taken so far included."""
        return self._spent + (self.clock() - self._since if self._since is not None else 0.0)

    @property
    def trained(self) -> float:
        """T, in seconds."""
        return (self._since if self._since is not None else self.clock()) - self._started - self._spent

    def affords(self, expected: float) -> bool:
        """Whether the promise holds also after ``expected`` more seconds of measuring."""
        return self.spent + expected <= self.overhead * self.trained

    def __enter__(self) -> Self:
        self._since = self.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spent, self._since = self.spent, None
