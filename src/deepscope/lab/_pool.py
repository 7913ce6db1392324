"""Trials in a pool of local processes: the death of a worker costs its own trial only, which is tried once more."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from deepscope.core import DeepscopeError
from deepscope.lab._limits import one_thread_for_children
from deepscope.lab._task import TrialTask, took_too_long
from deepscope.lab._trial_record import TrialRecord

_ATTEMPTS = 2
#: Pools that may break one after the other before a trial ends.
_BREAKS = 3
_POLL_SECONDS = 0.1
#: After so long a worker takes the others' lock for that of one that was killed while it held it.
_LOCK_SECONDS = 10.0
#: What a trial that has begun has done at least.
_BEGUN = 1e-9


class PoolExecutor:
    """Runs trials in local worker processes.

    Parameters
    ----------
    workers
        How many at once.
    timeout
        Wall-clock seconds that a trial may take, by a clock that does not jump.

    Notes
    -----
    Workers are started afresh (``spawn``), load torch once and stay warm. They end when this process dies.
    """

    def __init__(self, workers: int, timeout: float) -> None:
        self._workers, self._timeout = workers, timeout
        # Twice as many trials are handed out as can run, so that no worker waits for the next.
        self._slots = 2 * workers
        context = multiprocessing.get_context("spawn")
        # Without a lock: a worker killed while it writes could not release one.
        self._fractions: Any = context.RawArray("d", self._slots)
        self._context = context

    def done(self) -> float:
        """Return the sum of the fractions of the trials that are running."""
        return float(sum(self._fractions))

    def run(self, tasks: Sequence[TrialTask]) -> Iterator[TrialRecord]:
        """Yield each trial's record as it ends."""
        waiting = deque(tasks)
        deaths: Counter[str] = Counter()
        breaks = 0
        while waiting:
            before = len(waiting)
            with one_thread_for_children():
                yield from self._until_broken(waiting, deaths)
            breaks = 0 if len(waiting) < before else breaks + 1
            if waiting and breaks >= _BREAKS:
                raise DeepscopeError(
                    "no worker process can be started",
                    where=f"{self._workers} workers",
                    todo='In a script of your own, call run_study under `if __name__ == "__main__":`; '
                    "or use fewer workers, or the inline executor.",
                )

    def _until_broken(self, waiting: deque[TrialTask], deaths: Counter[str]) -> Iterator[TrialRecord]:
        """Run trials until none waits, or the pool breaks; trials that it had are then waiting again."""
        from pebble import ProcessPool

        pool = ProcessPool(
            max_workers=self._workers,
            initializer=start_worker,
            initargs=(os.getpid(), self._fractions),
            context=self._context,
        )
        flights: dict[Any, _Flight] = {}
        free = set(range(self._slots))
        try:
            while waiting or flights:
                while waiting and free:
                    task = replace(waiting.popleft(), slot=free.pop())
                    self._fractions[task.slot] = 0.0
                    try:
                        flights[pool.schedule(work, args=(task,))] = _Flight(task)
                    except RuntimeError:
                        waiting.appendleft(task)
                        return
                ended, _ = wait(flights, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                self._stop_what_takes_too_long(flights)
                for future in ended:
                    flight = flights.pop(future)
                    free.add(flight.task.slot)
                    self._fractions[flight.task.slot] = 0.0
                    try:
                        record = self._ended(future, flight, deaths)
                    except BrokenProcessPool:
                        waiting.appendleft(flight.task)
                        return
                    if record is None:
                        waiting.appendleft(flight.task)
                    else:
                        yield record
        finally:
            waiting.extendleft(flight.task for flight in flights.values())
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()

    def _stop_what_takes_too_long(self, flights: dict[Any, _Flight]) -> None:
        now = time.monotonic()
        for future, flight in flights.items():
            # Above 0 once the trial itself has begun: a worker's first trial waits for its imports.
            if flight.started is None and self._fractions[flight.task.slot] > 0:
                flight.started = now
            elif flight.started is not None and now - flight.started > self._timeout and not future.done():
                flight.timed_out = True
                future.cancel()

    def _ended(self, future: Any, flight: _Flight, deaths: Counter[str]) -> TrialRecord | None:
        """Return the trial's record; None where it is to be tried again."""
        from pebble import ProcessExpired

        from deepscope.lab._trial import record_of

        task = flight.task
        spent = {"wall_seconds": time.monotonic() - flight.started if flight.started is not None else 0.0}
        try:
            record: TrialRecord = future.result()
        except CancelledError:
            if not flight.timed_out:
                raise
            return record_of(task, {}, took_too_long(self._timeout), **spent)
        except ProcessExpired as death:
            deaths[task.identity] += 1
            if deaths[task.identity] < _ATTEMPTS:
                return None
            return record_of(task, {}, f"its worker process died twice ({_how(death.exitcode)})", **spent)
        return record


@dataclass
class _Flight:
    """A trial that has been handed to the pool."""

    task: TrialTask
    started: float | None = None
    timed_out: bool = False


def _how(code: int | None) -> str:
    if code == -9:
        return "killed; perhaps the machine ran out of memory: use fewer workers"
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


_fractions: Any = None


def start_worker(parent: int, fractions: Any) -> None:
    """Make a process ready to run trials; called once in each worker."""
    import torch
    from pebble import CONSTS

    CONSTS.channel_lock_timeout = _LOCK_SECONDS
    global _fractions
    _fractions = fractions
    # What a trial prints must not end up in what the parent prints as JSON.
    os.dup2(2, 1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def work(task: TrialTask) -> TrialRecord:
    """Run one trial in a worker."""
    from deepscope.lab._trial import run_trial

    def tell(done: float) -> None:
        _fractions[task.slot] = max(done, _BEGUN)

    return run_trial(task, tell)


def _end_with(parent: int) -> None:
    """End this process soon after its parent has: nobody would store what it finds."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):
        os._exit(1)
