"""One line on a terminal that is written again and again."""

from __future__ import annotations

import shutil
import sys
import time


class LiveLine:
    """Shows one line on standard error while it is a terminal, and nothing otherwise; never raises."""

    #: Fewest seconds between two drawings: more are not seen.
    _BETWEEN = 0.1

    def __init__(self) -> None:
        self._shown = False
        self._at = -self._BETWEEN

    @property
    def due(self) -> bool:
        """Whether a line would be drawn now."""
        return _is_terminal() and time.monotonic() - self._at >= self._BETWEEN

    def show(self, text: str) -> None:
        """Write the text over the last; what the terminal has no room for is left out."""
        if not _is_terminal():
            return
        width = shutil.get_terminal_size().columns - 1
        self._write(f"\r\x1b[2K{text[:width]}")
        self._shown, self._at = True, time.monotonic()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write("\r\x1b[2K")
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            # Nobody watches any more; the training goes on.
            self._shown = False


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:
        # It was closed.
        return False
