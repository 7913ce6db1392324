"""What a block of code costs: processor time, elapsed time, and memory above what was there before."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


class Meter:
    """Measure a block; enter it after all imports.

    ``cost`` holds ``cpu_seconds`` (all threads), ``wall_seconds`` and ``extra_bytes``, the largest resident size seen
    above that at entry, sampled every 5 ms.
    """

    def __enter__(self) -> Meter:
        self._stop = threading.Event()
        self._before = self._peak = resident()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self._stop.set()
        self._sampler.join()
        self._peak = max(self._peak, resident())
        self.cost = {"cpu_seconds": cpu, "wall_seconds": wall, "extra_bytes": self._peak - self._before}

    def _sample(self) -> None:
        while not self._stop.wait(0.005):
            self._peak = max(self._peak, resident())
