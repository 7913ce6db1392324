"""A tracker that cannot harm what it watches."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Callable
from typing import final

from deepscope.core import one_line
from deepscope.training._trackers import Numbers, Parameters, Tracker


@final
class Guarded(Tracker):
    """A tracker that cannot harm what it watches.

    Its first failure is said once, as a warning, and after it nothing more is tracked: a server that is gone would
    cost its time-out at every step. A run that is still open when the process ends is closed then.

    Parameters
    ----------
    tracker
        The one that may fail.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._is_open = self._failed = False

    def open(self, name: str, parameters: Parameters) -> None:
        """Begin a run, and end one that was left open."""
        self.close()
        self._try(lambda: self._tracker.open(name, parameters))
        self._is_open = not self._failed
        if self._is_open:
            atexit.register(self.close)

    def log(self, numbers: Numbers, step: int) -> None:
        """Show the numbers, if that still goes."""
        if self._is_open:
            self._try(lambda: self._tracker.log(numbers, step))

    def close(self) -> None:
        """End the run, if one is open."""
        if self._is_open:
            self._is_open = False
            atexit.unregister(self.close)
            self._try(self._tracker.close)

    def _try(self, action: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:
            self._failed = True
            warnings.warn(
                f"{type(self._tracker).__name__} failed ({one_line(error)}); nothing more is sent to it, and all else "
                "goes on",
                stacklevel=2,
            )
