"""The trials of a run, one line each: a file that only grows, and outlives its writer at any moment."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from deepscope.lab._trial_record import TrialRecord, decode, encode

#: A computer that loses its power loses at most this much; a killed process loses nothing.
_SYNC_SECONDS = 1.0


class TrialLog:
    """Appends records to a file of its own. A full or failing disk never stops the trials.

    What cannot be written stays in memory and is tried again, in order, with the next record and when the log is
    closed. Half-written lines are cut off first, also those that a killed process has left. One log writes a file at a
    time, from one thread.

    Parameters
    ----------
    path
        The file; it is made with the first record.

    Attributes
    ----------
    path
        As above.
    fault
        Why lines are not on the disk, in the system's words; ``""`` where all are.

    Notes
    -----
    Cost: one system call per record, and one flush to the disk per second.
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
        """Number of records that are not in the file."""
        return len(self._waiting)

    def append(self, record: TrialRecord) -> None:
        """Write a record, as one line in one system call.

        Raises
        ------
        TypeError
            It holds what cannot be written exactly. A disk that cannot be written raises nothing: see ``fault``.
        """
        self._waiting.append(encode(record))
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


def read_trials(path: Path) -> tuple[list[TrialRecord], int]:
    """Read what a log wrote, also while it is being written.

    Returns
    -------
    records, bad
        The records in the order in which they were written, and the number of whole lines that are no record: damaged,
        or written by a newer deepscope. A last line without its end is what a killed process leaves: skipped, not
        counted. A file that does not exist holds nothing.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    records, bad = [], 0
    for line in content.split(b"\n")[:-1]:
        try:
            records.append(decode(line))
        except ValueError:
            bad += 1
    return records, bad
