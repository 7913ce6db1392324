"""How far a study is, and how long the rest will take."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from deepscope.core import Case
from deepscope.lab._examine import Progress
from deepscope.lab._protocol import Protocol
from deepscope.lab._task import Executor, TrialTask
from deepscope.lab._trial_record import TrialRecord

_TELL_SECONDS = 0.5


def expected_seconds(protocol: Protocol, earlier: Iterable[TrialRecord]) -> dict[Case, float | None]:
    """Return the CPU seconds that a trial of each case took so far; of any case where this one was never run."""
    by_case: defaultdict[Case, list[float]] = defaultdict(list)
    for record in earlier:
        by_case[Case(**record.case)].append(record.cpu_seconds)
    overall = _mean([seconds for its in by_case.values() for seconds in its])
    cases = {planned.case for planned in protocol.trials}
    return {case: _mean(by_case[case]) if case in by_case else overall for case in cases}


class StudyProgress:
    """Tells how many trials are done and how long the rest will take.

    Parameters
    ----------
    protocol
        What is run.
    tasks
        The trials that are not stored.
    expected
        Seconds that a trial of each case is expected to take, None where nothing is known.
    workers
        How many run at once.
    tell
        Whom to tell.
    """

    def __init__(
        self,
        protocol: Protocol,
        tasks: Sequence[TrialTask],
        expected: Mapping[Case, float | None],
        workers: int,
        tell: Progress,
    ) -> None:
        self._name, self._total, self._to_run = protocol.reference.id, len(protocol.trials), len(tasks)
        self._workers, self._expected, self._tell = workers, expected, tell
        self._remaining = Counter(task.case for task in tasks)
        self._took: defaultdict[Case, list[float]] = defaultdict(list)
        self._ended = 0
        many = "trial" if self._to_run == 1 else "trials"
        modified = "; modified protocol" if protocol.modified else ""
        tell(
            f"{self._name} ({protocol.scale}): {self._to_run} {many} to run, {self._total - self._to_run} stored"
            f"{self._rest(0.0, 'in all')}; {workers} at once{modified}.",
            0.0,
        )

    def ended(self, record: TrialRecord) -> None:
        """Count a trial that has ended."""
        case = Case(**record.case)
        self._remaining[case] -= 1
        self._took[case].append(record.wall_seconds)
        self._ended += 1

    @contextmanager
    def watching(self, machine: Executor) -> Iterator[None]:
        """Tell twice a second while the trials run."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_TELL_SECONDS):
                self._say(machine.done())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _say(self, running: float) -> None:
        done = self._total - self._to_run + self._ended
        self._tell(
            f"{self._name}: {done} of {self._total} trials{self._rest(running, 'left')}",
            min(1.0, (self._ended + running) / self._to_run),
        )

    def _rest(self, running: float, word: str) -> str:
        """Say how long the trials will take that have not ended, of which so many are done in part."""
        took = [seconds for each in list(self._took.values()) for seconds in each]
        overall = _mean(took)
        each = {case: self._estimate(case, overall) for case, count in list(self._remaining.items()) if count > 0}
        if not each or None in each.values():
            return ""
        seconds = sum((estimate or 0.0) * self._remaining[case] for case, estimate in each.items())
        trials = sum(self._remaining[case] for case in each)
        part = max(0.0, 1 - running / trials)
        return f", about {spoken(seconds * part / min(self._workers, trials))} {word}"

    def _estimate(self, case: Case, overall: float | None) -> float | None:
        its = _mean(self._took.get(case, []))
        if its is not None:
            return its
        expected = self._expected.get(case)
        return overall if expected is None else expected


def spoken(seconds: float) -> str:
    """Say a duration as people do.

    >>> spoken(4.2), spoken(130), spoken(9000)
    ('5 s', '2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(1, int(seconds + 0.999))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
