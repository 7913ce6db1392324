"""Directories of runs while they are written: held by a lock for as long as their writer lives, out of sight at first.

A lock, unlike a date or a process number, cannot be wrong about whether the writer is alive: the system lets it go when
the process ends, however it ends.
"""

from __future__ import annotations

import datetime
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "writer.lock"
_DRAFT, _GONE = ".part", ".gone"
# To the microsecond, so that names sort by time.
_STAMP, _STAMP_LENGTH = "%Y%m%d-%H%M%S-%f", 22


class Draft:
    """A new run's directory, locked. It gets its name when it is published, in one step.

    Parameters
    ----------
    folder
        Folder of all runs; it is made where it is missing.
    name
        What the run is of; part of its id.

    Attributes
    ----------
    id
        The run's id. Ids sort by time.
    path
        The directory: a hidden one until it is published.

    Raises
    ------
    OSError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        from filelock import FileLock, Timeout

        while True:
            folder.mkdir(parents=True, exist_ok=True)
            self.id = _new_id(name, folder)
            self.path = folder / f".{self.id}{_DRAFT}"
            try:
                self.path.mkdir()
                self._lock = FileLock(self.path / LOCK, thread_local=False)
                self._lock.acquire(timeout=0)
            except (FileExistsError, FileNotFoundError, Timeout):
                # Until the lock is held, the directory looks like one that a killed writer has left, and may be
                # removed as such.
                continue
            if (self.path / LOCK).exists():
                return
            self._lock.release()

    def publish(self) -> Path:
        """Give the directory its name; the lock stays held."""
        self.path = self.path.rename(self.path.with_name(self.id))
        return self.path

    def finish(self) -> None:
        """Let the directory go: nobody will write in it any more."""
        with suppress(OSError):
            (self.path / LOCK).unlink(missing_ok=True)
        self._lock.release()

    def discard(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Say whether a run's directory has no writer; within the block none can appear."""
    from filelock import FileLock, Timeout

    if not (path / LOCK).exists():
        yield not _is_draft(path)
        return
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except (OSError, Timeout):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def leftovers(folder: Path) -> list[Path]:
    """List the drafts in a folder whose writers were killed, and directories whose removal was."""
    found = sorted(folder.glob(f".*{_GONE}"))
    for path in sorted(folder.glob(f".*{_DRAFT}")):
        with abandoned(path) as is_abandoned:
            if is_abandoned or _is_empty(path):
                found.append(path)
    return found


def remove(path: Path) -> bool:
    """Remove a run's directory or a leftover, unless somebody writes in it; say whether it was removed.

    A run first goes out of sight under a name that says what it is: a removal that is interrupted leaves no half of it.

    Raises
    ------
    OSError
        It cannot be removed.
    """
    try:
        if path.suffix == _GONE:
            shutil.rmtree(path)
            return True
        if _is_empty(path):
            # Its writer was killed before it held the lock, or is about to hold it: then this fails, or the writer
            # makes another.
            path.rmdir()
            return True
        with abandoned(path) as is_abandoned:
            if is_abandoned:
                shutil.rmtree(path.rename(path.with_name(f".{path.name.strip('.')}-{secrets.token_hex(2)}{_GONE}")))
            return is_abandoned
    except FileNotFoundError:
        # Somebody else is removing it.
        return False


def _is_draft(path: Path) -> bool:
    return path.suffix == _DRAFT


def _is_empty(path: Path) -> bool:
    return _is_draft(path) and path.is_dir() and not any(path.iterdir())


def _new_id(name: str, folder: Path) -> str:
    stamp = datetime.datetime.now(datetime.UTC).strftime(_STAMP)
    # Names that begin with a digit sort before the colon; those of drafts, with a dot, before the digits.
    with os.scandir(folder) as entries:
        stored = max([entry.name for entry in entries if entry.name < ":"], default="")[:_STAMP_LENGTH]
    if re.fullmatch(r"\d{8}-\d{6}-\d{6}", stored) and stamp <= stored:
        # Ids sort in the order in which runs were begun, also after a clock was set back.
        last = datetime.datetime.strptime(stored, _STAMP).replace(tzinfo=datetime.UTC)
        stamp = (last + datetime.timedelta(microseconds=1)).strftime(_STAMP)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:32] or "subject"
    return f"{stamp}-{slug}-{secrets.token_hex(2)}"
