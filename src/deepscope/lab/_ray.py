"""Tasks on a Ray cluster: several at a time, and the loss of a node costs none."""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic

from deepscope.core import UsageError, first_line
from deepscope.lab._limits import CHILD_ENVIRONMENT
from deepscope.lab._task import Overdue, R, Task, took_too_long

_ATTEMPTS = 2
#: Batches that each of the cluster's processors should get, so that the last ones end together.
_BATCHES_PER_CPU = 4
_POLL_SECONDS = 0.2
_START_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


class RayExecutor:
    """Runs tasks on one processor each.

    Parameters
    ----------
    address
        Of the cluster (``"host:6379"``, ``"ray://host:10001"``, ``"auto"``); None starts Ray on this machine, or uses
        the connection that this process has.
    timeout
        Wall-clock seconds that a task may take; infinity for no limit.
    largest_batch
        How many tasks are handed out together, where there are many.

    Raises
    ------
    UsageError
        Ray is not installed, or no cluster answers.

    Notes
    -----
    Every node needs the same deepscope, and at the same path the checkpoint that is examined, or the file of a study of
    one's own. What ``run.shared`` and trials' checkpoints keep is kept in each node's own store unless they share one.
    """

    def __init__(self, address: str | None, timeout: float, largest_batch: int) -> None:
        self._ray = _connected(address)
        self._timeout, self._largest_batch = timeout, largest_batch

    @property
    def at_once(self) -> int:
        """Number of the cluster's processors."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def done(self) -> float:
        """Return 0: how far a task on another machine is, is not asked for."""
        return 0.0

    def run(self, tasks: Sequence[Task[R]]) -> Generator[R, None, None]:
        """Yield what each task returns when its batch has ended."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=0)(_run_batch)
        size = max(1, min(self._largest_batch, len(tasks) // (_BATCHES_PER_CPU * self.at_once)))
        waiting = deque(tuple(tasks[start : start + size]) for start in range(0, len(tasks), size))
        deaths: Counter[str] = Counter()
        flights: dict[Any, _Flight[R]] = {}
        try:
            while waiting or flights:
                # No more at once than can run: a batch's time is then counted from when it was handed out.
                at_once = self.at_once
                while waiting and len(flights) < at_once:
                    batch = waiting.popleft()
                    flights[remote.remote(batch, self._timeout)] = _Flight(batch, time.monotonic())
                ended, _ = ray.wait(list(flights), num_returns=1, timeout=_POLL_SECONDS)
                self._stop_what_takes_too_long(flights)
                for reference in ended:
                    yield from self._ended(reference, flights.pop(reference), waiting, deaths)
        finally:
            for reference in flights:
                ray.cancel(reference, force=True)

    def _stop_what_takes_too_long(self, flights: dict[Any, _Flight[R]]) -> None:
        now = time.monotonic()
        for reference, flight in flights.items():
            # A task that no alarm can stop; the time in which a node starts a worker is not the task's.
            if not flight.timed_out and now - flight.started > self._timeout * len(flight.batch) + _START_SECONDS:
                flight.timed_out = True
                self._ray.cancel(reference, force=True)

    def _ended(
        self, reference: Any, flight: _Flight[R], waiting: deque[tuple[Task[R], ...]], deaths: Counter[str]
    ) -> Generator[R, None, None]:
        """Yield the results of a batch; where its worker died, its tasks wait again, one by one."""
        try:
            results: list[R] = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            alone = len(flight.batch) == 1
            spent = time.monotonic() - flight.started
            for task in flight.batch:
                deaths[task.identity] += alone and not flight.timed_out
                if alone and (flight.timed_out or deaths[task.identity] >= _ATTEMPTS):
                    why = (
                        took_too_long(self._timeout)
                        if flight.timed_out
                        else f"its worker died twice ({type(error).__name__}: {first_line(error)})"
                    )
                    yield task.failed(why, wall_seconds=spent)
                else:
                    waiting.appendleft((task,))
        else:
            yield from results


@dataclass
class _Flight(Generic[R]):
    """A batch that has been handed to the cluster."""

    batch: tuple[Task[R], ...]
    started: float
    timed_out: bool = False


def _run_batch(batch: tuple[Task[R], ...], timeout: float) -> list[R]:
    return [_run_in_time(task, timeout) for task in batch]


def _run_in_time(task: Task[R], timeout: float) -> R:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Overdue

    begun = False

    def begin(done: float) -> None:
        # Called first when the task itself begins: what a worker's first task imports is not counted.
        nonlocal begun
        if not begun and math.isfinite(timeout):
            signal.setitimer(signal.ITIMER_REAL, timeout)
        begun = True

    before = signal.signal(signal.SIGALRM, stop)
    try:
        return task.run(begin)
    except Overdue:
        return task.failed(took_too_long(timeout), wall_seconds=timeout)
    except KeyboardInterrupt:
        # Ray is only ever asked to kill: the task itself has raised it.
        return task.failed("raised KeyboardInterrupt")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _connected(address: str | None) -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Ray is not installed", where="--executor ray", todo="Install it with: pip install 'deepscope[cluster]'"
        ) from error
    if ray.is_initialized():
        return ray
    try:
        _require_answer(address)
        ray.init(
            address=address,
            runtime_env={"env_vars": CHILD_ENVIRONMENT},
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise UsageError(
            f"no Ray cluster answers ({first_line(error)})",
            where=address or "this machine",
            todo='Start one with "ray start --head", or leave --address out.',
        ) from error
    return ray


def _require_answer(address: str | None) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
