"""Tasks in a pool of local processes: the death of a worker costs its own task only, which is tried once more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic

import psutil

from deepscope.core import DeepscopeError, one_line
from deepscope.lab._groups import WorkerGroups
from deepscope.lab._limits import one_thread_for_children
from deepscope.lab._task import R, Task, took_too_long
from deepscope.lab._worker import Slots, start_worker, work

_ATTEMPTS = 2
#: Pools that may break one after the other before a task ends.
_BREAKS = 3
_POLL_SECONDS = 0.1
#: A worker that has been gone for so long will send nothing more.
_GONE_SECONDS = 1.0


class PoolExecutor:
    """Runs tasks in local worker processes.

    Parameters
    ----------
    workers
        How many at once.
    timeout
        Wall-clock seconds that a task may take, by a clock that does not jump; infinity for no limit.

    Notes
    -----
    Workers are started afresh (``spawn``), load torch once and stay warm. They end when this process dies.
    """

    def __init__(self, workers: int, timeout: float) -> None:
        self._workers, self._timeout = workers, timeout
        # Twice as many tasks are handed out as can run, so that no worker waits for the next.
        self._slots = 2 * workers
        context = multiprocessing.get_context("spawn")
        self._shared = Slots(context, self._slots)
        self._context = context

    @property
    def at_once(self) -> int:
        """Number of workers."""
        return self._workers

    def done(self) -> float:
        """Return the sum of the fractions of the tasks that are running."""
        return self._shared.done()

    def run(self, tasks: Sequence[Task[R]]) -> Generator[R, None, None]:
        """Yield what each task returns as it ends."""
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
                    todo='In a script of your own, call deepscope under `if __name__ == "__main__":`; '
                    "or use fewer workers, or the inline executor.",
                )

    def _until_broken(self, waiting: deque[Task[R]], deaths: Counter[str]) -> Generator[R, None, None]:
        """Run tasks until none waits, or the pool breaks; tasks that it had are then waiting again."""
        from pebble import ProcessPool

        pool = ProcessPool(
            max_workers=self._workers,
            initializer=start_worker,
            initargs=(os.getpid(), self._shared),
            context=self._context,
        )
        flights: dict[Any, _Flight[R]] = {}
        free = set(range(self._slots))
        groups = WorkerGroups()
        try:
            while waiting or flights:
                while waiting and free:
                    task, slot = waiting.popleft(), free.pop()
                    self._shared.clear(slot)
                    try:
                        flights[pool.schedule(work, args=(task, slot))] = _Flight(task, slot)
                    except RuntimeError:
                        waiting.appendleft(task)
                        return
                ended, _ = wait(flights, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                groups.bury()
                self._stop_what_takes_too_long(flights)
                self._notice_silent_deaths(flights, groups)
                for future in ended:
                    flight = flights.pop(future)
                    free.add(flight.slot)
                    pid = self._shared.pid(flight.slot)
                    if not _lost_its_worker(future, flight):
                        groups.lives(pid)
                    elif flight.gone_since is None:
                        groups.died(pid)
                    self._shared.clear(flight.slot)
                    try:
                        end = self._ended(future, flight, deaths)
                    except BrokenProcessPool:
                        waiting.appendleft(flight.task)
                        return
                    if end is None:
                        waiting.appendleft(flight.task)
                    else:
                        yield end[0]
        finally:
            waiting.extendleft(flight.task for flight in flights.values())
            with _uninterrupted():
                pool.stop()  # type: ignore[no-untyped-call]
                # Before the pool waits for its workers: after that, others may have their numbers.
                for flight in flights.values():
                    if flight.gone_since is None:
                        groups.died(self._shared.pid(flight.slot))
                groups.end()
                pool.join()

    def _stop_what_takes_too_long(self, flights: dict[Any, _Flight[R]]) -> None:
        now = time.monotonic()
        for future, flight in flights.items():
            if flight.started is None and self._shared.has_begun(flight.slot):
                flight.started = now
            elif flight.started is not None and now - flight.started > self._timeout and not future.done():
                flight.timed_out = True
                future.cancel()

    def _notice_silent_deaths(self, flights: dict[Any, _Flight[R]], groups: WorkerGroups) -> None:
        """Give up tasks whose worker has gone with exit code 0, as after ``os._exit(0)``: the pool would wait."""
        now = time.monotonic()
        for future, flight in flights.items():
            pid = self._shared.pid(flight.slot)
            if not pid or future.done() or psutil.pid_exists(pid):
                flight.gone_since = None
            elif flight.gone_since is None:
                flight.gone_since = now
                groups.died(pid)
            elif now - flight.gone_since > _GONE_SECONDS and not flight.died:
                flight.died = True
                future.cancel()

    def _ended(self, future: Any, flight: _Flight[R], deaths: Counter[str]) -> tuple[R] | None:
        """Return the task's result, alone in a tuple; None where it is to be tried again."""
        from pebble import ProcessExpired

        task = flight.task
        spent = time.monotonic() - flight.started if flight.started is not None else 0.0
        try:
            return (future.result(),)
        except CancelledError:
            if flight.timed_out:
                return (task.failed(took_too_long(self._timeout), wall_seconds=spent),)
            how = _how(0)
        except ProcessExpired as death:
            how = _how(death.exitcode)
        except BrokenProcessPool:
            raise
        except Exception as error:
            # Such as a result that does not survive the way between two processes.
            return (task.failed(one_line(error), wall_seconds=spent),)
        deaths[task.identity] += 1
        if deaths[task.identity] < _ATTEMPTS:
            return None
        return (task.failed(f"its worker process died twice ({how})", wall_seconds=spent),)


@dataclass
class _Flight(Generic[R]):
    """A task that has been handed to the pool, and its slot there."""

    task: Task[R]
    slot: int
    started: float | None = None
    gone_since: float | None = None
    timed_out: bool = False
    died: bool = False


def _lost_its_worker(future: Any, flight: _Flight[R]) -> bool:
    """Whether the worker of a task that has ended is dead, or being stopped."""
    from pebble import ProcessExpired

    if flight.timed_out or flight.died:
        return True
    return not future.cancelled() and isinstance(future.exception(), ProcessExpired)


def _how(code: int | None) -> str:
    if code == -9:
        return "killed; perhaps the machine ran out of memory: use fewer workers"
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no further Ctrl-C stop the stopping."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
