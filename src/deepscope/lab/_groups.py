"""What the tasks of workers have started and left behind: it ends with its worker."""

from __future__ import annotations

from contextlib import suppress

import psutil

from deepscope.lab._worker import kill_group


class WorkerGroups:
    """The process groups of the workers of a pool, each led by its worker.

    Once a worker and its group are gone, another process may get its number, and lead a group of that number. A group
    is therefore killed as soon as the death of its worker is seen, and then forgotten.
    """

    def __init__(self) -> None:
        self._leaders: dict[int, psutil.Process] = {}

    def lives(self, pid: int) -> None:
        """Note a worker that has ended a task and waits for the next; 0 is none."""
        if pid and pid not in self._leaders:
            with suppress(psutil.NoSuchProcess):
                self._leaders[pid] = psutil.Process(pid)

    def died(self, pid: int) -> None:
        """Kill the group of a worker that has just died, or is to die."""
        self._leaders.pop(pid, None)
        kill_group(pid)

    def bury(self) -> None:
        """Kill the groups of workers that died while they waited."""
        # By the time it began as well as by its number, which may be another's by now.
        for pid in [pid for pid, leader in self._leaders.items() if not leader.is_running()]:
            self.died(pid)

    def end(self) -> None:
        """Kill all groups, with the workers that lead them."""
        for pid in tuple(self._leaders):
            self.died(pid)
