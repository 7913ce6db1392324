"""Downloads that arrive whole and right, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from deepscope.core import DataError
from deepscope.data._source import RemoteFile

#: ``progress(file, done, total)``: bytes so far and in all; 0 in all where the server does not say.
Progress = Callable[[RemoteFile, int, int], None]

#: Seconds without an answer after which a server counts as silent.
_PATIENCE = 30


def download(file: RemoteFile, target: Path, *, scratch: Path, progress: Progress | None = None) -> None:
    """Fetch a file, check it, and only then give it its name.

    Parameters
    ----------
    file
        What to fetch.
    target
        Its final path.
    scratch
        A folder on the same disk as ``target``, in which the unfinished file lies.
    progress
        Told of every piece that arrives.

    Raises
    ------
    DataError
        The server cannot be reached or breaks off, the disk is full, or what came is not the right file. Nothing is
        left behind, and what stood at ``target`` before is untouched.
    """
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".fetching-") as folder:
            part = Path(folder) / file.name
            _get(file, part, progress)
            _check(file, part)
            _to_disk(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file.path} could not be fetched ({_reason(error)})",
            where=file.url,
            todo="Try again, or fetch it by hand and set DEEPSCOPE_DATA to the folder above it.",
        ) from error


def _get(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    import pooch

    # A server that packs on the way makes the length that it announces useless as a check.
    get = pooch.HTTPDownloader(
        progressbar=False if progress is None else _Meter(file, progress),
        chunk_size=1 << 16,
        timeout=_PATIENCE,
        headers={"Accept-Encoding": "identity"},
    )
    get(file.url, str(part), None)


def _check(file: RemoteFile, part: Path) -> None:
    if fault := file.fault(part):
        raise DataError(
            f"the file that came as {file.path} was thrown away: {fault}",
            where=file.url,
            todo="Try again; if it stays so, the public file has changed, or something on the way changes it.",
        )


def _to_disk(part: Path) -> None:
    # Without this, a power cut after the renaming can leave the final name on an empty file.
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


class _Meter:
    """The interface that pooch expects of a progress bar."""

    def __init__(self, file: RemoteFile, progress: Progress) -> None:
        self.total = 0
        self._file, self._progress, self._done = file, progress, 0

    def update(self, n_bytes: int) -> None:
        # pooch counts whole pieces, so that the last one can overshoot.
        self._done = min(self._done + n_bytes, self.total) if self.total else self._done + n_bytes
        self._progress(self._file, self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
