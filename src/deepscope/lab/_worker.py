"""A worker process of the pool: what it shares with its parent, how it begins, how it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from typing import Any

from deepscope.core import one_line
from deepscope.lab._task import R, Task

#: After so long a worker takes the others' lock for that of one that was killed while it held it.
_LOCK_SECONDS = 10.0
#: What a task that has begun has done at least.
_BEGUN = 1e-9


class Slots:
    """Memory that a pool shares with its workers: for each task handed out, how far it is, and who runs it.

    Without a lock: a worker that is killed while it writes could not release one.

    Parameters
    ----------
    context
        Of ``multiprocessing``.
    count
        How many tasks are handed out at a time.
    """

    def __init__(self, context: Any, count: int) -> None:
        self._fractions, self._pids = context.RawArray("d", count), context.RawArray("q", count)

    def clear(self, slot: int) -> None:
        """Make a slot ready for the next task."""
        self._fractions[slot] = self._pids[slot] = 0

    def taken(self, slot: int) -> None:
        """Note, in a worker, that this process runs the task."""
        self._pids[slot] = os.getpid()

    def tell(self, slot: int, done: float) -> None:
        """Note, in a worker, that the task has begun, and which part of it is done."""
        self._fractions[slot] = max(done, _BEGUN)

    def has_begun(self, slot: int) -> bool:
        """Whether the task itself has begun: a worker's first one waits for its imports."""
        return bool(self._fractions[slot] > 0)

    def pid(self, slot: int) -> int:
        """Return the process that runs the task; 0 while none does."""
        return int(self._pids[slot])

    def done(self) -> float:
        """Return the sum of the fractions of the tasks that are running."""
        return float(sum(self._fractions))


_slots: Slots | None = None


def start_worker(parent: int, slots: Slots) -> None:
    """Make a process ready to run tasks; called once in each worker."""
    from pebble import CONSTS

    CONSTS.channel_lock_timeout = _LOCK_SECONDS
    global _slots  # this process's own, set once before its first task
    _slots = slots
    # A group of its own, so that what its tasks start can be stopped with it.
    os.setpgid(0, 0)
    # What a task prints must not end up in what the parent prints as JSON.
    os.dup2(2, 1)
    _die_with_parent()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def work(task: Task[R], slot: int) -> R:
    """Run one task in a worker; ``slot`` is where it writes how far it is."""
    slots = _slots
    assert slots is not None
    slots.taken(slot)
    try:
        result = task.run(lambda done: slots.tell(slot, done))
    except KeyboardInterrupt:
        # Nobody interrupts a worker: the task itself has raised it.
        return task.failed("raised KeyboardInterrupt")
    try:
        # What cannot be sent would end this process, and what cannot be received would stop the pool for good.
        ForkingPickler.loads(ForkingPickler.dumps(result))
    except Exception as error:
        return task.failed(f"what it returned cannot be sent to another process ({one_line(error)})")
    return result


def kill_group(pid: int) -> None:
    """Kill what a stopped worker, or a task in it, has started."""
    with suppress(ProcessLookupError, PermissionError):
        if pid and os.getpgid(0) != pid:
            os.killpg(pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent, also while a task lets no other thread run."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _end_with(parent: int) -> None:
    """End this process soon after its parent has: nobody would store what it finds."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
