"""Which executor runs tasks, and what each may use."""

from __future__ import annotations

import math
import os

from deepscope.core import UsageError, nearest
from deepscope.lab._inline import InlineExecutor
from deepscope.lab._limits import free_memory
from deepscope.lab._pool import PoolExecutor
from deepscope.lab._ray import RayExecutor
from deepscope.lab._task import Executor

EXECUTORS = ("inline", "pool", "ray")


def choose_executor(
    name: str,
    workers: int | None,
    address: str | None,
    *,
    timeout: float | None = None,
    usual_timeout: float = math.inf,
    largest_batch: int = 1,
) -> Executor:
    """Return the executor of that name, or say which options do not go with it.

    Parameters
    ----------
    name
        ``"inline"``, ``"pool"`` or ``"ray"``.
    workers, address, timeout
        What was asked for; None where nothing was.
    usual_timeout
        The time-out unless one was asked for.
    largest_batch
        How many tasks Ray is handed together.
    """
    if name not in EXECUTORS:
        raise UsageError("unknown executor", where=name, todo=nearest(name, EXECUTORS))
    for what, value, for_ in (("address", address, "ray"), ("workers", workers, "pool")):
        if value is not None and name != for_:
            raise UsageError(
                f"{what} is for the executor {for_}, not {name}",
                where=f"{what} {value}",
                todo=f"Choose --executor {for_}, or leave it out.",
            )
    if timeout is not None and name == "inline":
        raise UsageError("inline there is no time-out", where=f"{timeout:g} s", todo="Choose the executor pool.")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"a time-out of {timeout:g} s", where="timeout", todo="Give more than 0 seconds.")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise UsageError(f"{workers} workers", where="workers", todo="Give at least 1, or leave it out.")
    limit = usual_timeout if timeout is None else timeout
    if name == "ray":
        return RayExecutor(address, limit, largest_batch)
    if name == "inline":
        return InlineExecutor()
    # More workers than processors would only slow each other.
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return PoolExecutor(min(workers or processors, processors), limit)


def memory_for(at_once: int, given: int | None) -> int:
    """Return what a trial may allocate: an equal share of nine tenths of what is free, unless it is given."""
    if given is not None and given <= 0:
        raise UsageError(f"{given} bytes of memory", where="memory", todo="Give more than 0.")
    return given if given is not None else int(0.9 * free_memory() / at_once)
