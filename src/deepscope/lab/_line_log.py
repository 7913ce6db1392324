"""Lines of a file that only grows, and outlives its writer at any moment."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

#: A computer that loses its power loses at most this much; a killed process loses nothing.
_SYNC_SECONDS = 1.0


class LineLog:
    """Appends lines to a file of its own. A full or failing disk never stops the work.

    What cannot be written stays in memory and is tried again, in order, with the next line and when the log is
    closed. Half-written lines are cut off first, also those that a killed process has left. One log writes a file at a
    time, from one thread.

    Parameters
    ----------
    path
        The file; it is made with the first line.

    Attributes
    ----------
    path
        As above.
    fault
        Why lines are not on the disk, in the system's words; ``""`` where all are.

    Notes
    -----
    Cost: one system call per line, and one flush to the disk per second.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self._waiting: list[bytes] = []
        self._descriptor: int | None = None
        #: Length of the file up to the end of its last whole line.
        self._whole = 0
        self._torn = False
        self._synced = time.monotonic()

    @property
    def unwritten(self) -> int:
        """Number of lines that are not in the file."""
        return len(self._waiting)

    def append_line(self, line: bytes) -> None:
        """Write a line, its end included, in one system call; a disk that cannot be written raises nothing."""
        self._waiting.append(line)
        self._write(sync=time.monotonic() - self._synced >= _SYNC_SECONDS)

    def close(self) -> None:
        """Try once more to write what waits, flush to the disk, and let the file go."""
        if self._waiting or self._descriptor is not None:
            self._write(sync=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, *, sync: bool) -> None:
        try:
            descriptor = self._healed()
            while self._waiting:
                line = self._waiting[0]
                self._torn = True
                _write_whole(descriptor, line)
                self._torn = False
                self._whole += len(line)
                del self._waiting[0]
            if sync:
                os.fsync(descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            self.fault = error.strerror or str(error)
        else:
            self.fault = ""

    def _healed(self) -> int:
        """Return the open file, ending with a whole line."""
        if self._descriptor is None:
            content = self.path.read_bytes() if self.path.exists() else b""
            self._whole = content.rfind(b"\n") + 1
            self._torn = self._whole < len(content)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if self._torn:
            os.ftruncate(self._descriptor, self._whole)
            self._torn = False
        return self._descriptor


def _write_whole(descriptor: int, line: bytes) -> None:
    # The rest is never written by a second call: a reader, or a kill, could come between.
    if os.write(descriptor, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_lines(path: Path) -> list[bytes]:
    """Return the whole lines of a file, also while it is being written; none where it does not exist.

    A last line without its end is what a killed process leaves: it is skipped.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
