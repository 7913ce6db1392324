"""Tasks that do nothing, handed one by one to warm local workers of a peer; runs in the peers' environment.

python peer_executors.py pool|joblib|ray WORKERS UNTIMED TIMED

A task is handed as much as deepscope hands a trial, and returns as much.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

Task = dict[str, Any]
Run = Callable[[list[Task]], int]


def task(number: int) -> Task:
    return {
        "study": {"id": "nothing", "path": "/somewhere/nothing.py"},
        "identity": f"{number:020x}",
        "code": f"{0:064x}",
        "case": {"width": 64},
        "seed": number,
        "run": "20200101-000000-000000-nothing-0000",
        "device": "cpu",
        "memory_bytes": 2**33,
        "slot": number % 4,
    }


def nothing(given: Task) -> dict[str, Any]:
    values = {"value": float(given["seed"])}
    return {**given, "status": "finished", "values": values, "wall_seconds": 0.0, "cpu_seconds": 0.0, "log": ()}


@contextmanager
def pool(workers: int) -> Iterator[Run]:
    """A bare pool of processes, started as deepscope's are."""
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield lambda tasks: sum(len(f.result()) > 0 for f in as_completed([executor.submit(nothing, t) for t in tasks]))


@contextmanager
def joblib(workers: int) -> Iterator[Run]:
    """Joblib's loky, as it comes: it batches tasks that are short."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=workers, return_as="generator_unordered") as parallel:
        yield lambda tasks: sum(len(result) > 0 for result in parallel(delayed(nothing)(each) for each in tasks))


@contextmanager
def ray(workers: int) -> Iterator[Run]:
    """A local Ray with a task for each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(address="local", num_cpus=workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    remote = ray.remote(nothing)

    def run(tasks: list[Task]) -> int:
        waiting, done = [remote.remote(each) for each in tasks], 0
        while waiting:
            (ready,), waiting = ray.wait(waiting)
            done += len(ray.get(ready)) > 0
        return done

    try:
        yield run
    finally:
        ray.shutdown()


def main(what: str, workers: int, untimed: int, timed: int) -> None:
    tasks = [task(number) for number in range(untimed + timed)]
    with {"pool": pool, "joblib": joblib, "ray": ray}[what](workers) as run:
        done = run(tasks[:untimed])
        started = time.perf_counter()
        done += run(tasks[untimed:])
        seconds = time.perf_counter() - started
    if done != len(tasks):
        raise SystemExit(f"{done} of {len(tasks)} tasks are done")
    print(json.dumps({"seconds": seconds, "version": "" if what == "pool" else version(what)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
