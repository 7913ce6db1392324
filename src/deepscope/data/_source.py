"""What a dataset's file declares: where its files come from and how to know the right ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deepscope.core import DataError
from deepscope.data._dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a dataset.

    Attributes
    ----------
    path
        Its place below the folder of all data, with slashes: ``"mnist/train-labels-idx1-ubyte.gz"``.
    url
        Its public address.
    sha256
        Checksum, in hexadecimal digits.
    gzipped
        Whether the checksum is that of the unpacked bytes: mirrors pack the same content differently.
    judge
        Where other files are as good as the one with this checksum: a function that returns what is wrong with a
        file, ``""`` where it is right. It is asked when the checksum differs.
    """

    path: str
    url: str
    sha256: str
    gzipped: bool = False
    judge: Callable[[Path], str] | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def fault(self, path: Path) -> str:
        """Say what is wrong with a copy of this file, by reading all of it; ``""`` where it is right.

        Raises
        ------
        DataError
            ``judge`` needs a package that is not installed.
        """
        kind = "SHA-256 of the unpacked bytes" if self.gzipped else "SHA-256"
        try:
            found = _sha256(path, gzipped=self.gzipped)
        except gzip.BadGzipFile:
            return "it is not a gzip file"
        except (EOFError, zlib.error):
            return "it is a broken or incomplete gzip file"
        except OSError as error:
            return f"it cannot be read ({error.strerror or error})"
        if found == self.sha256:
            return ""
        differs = f"its {kind} is {found}, expected {self.sha256}"
        if self.judge is None:
            return differs
        wrong = self.judge(path)
        return f"{differs}, and {wrong}" if wrong else ""

    def prove(self, path: Path) -> None:
        """Check a copy of this file, once per process as long as its size and time of change stay the same.

        Raises
        ------
        DataError
            The file is not the right one: names the file, the checksum expected and the one found.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise DataError(f"a data file cannot be read ({error.strerror})", where=str(path)) from None
        _prove(self, path, state.st_size, state.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that can be loaded: what ``SOURCE`` in each file of this folder is.

    Attributes
    ----------
    name
        Its name in the catalog and on the command line.
    title
        What it is, in a few words.
    licence
        The terms under which it is published.
    load
        ``load(paths, **options) -> Dataset``, with the files' paths in the order of ``files``. It imports what it
        needs when it is called.
    files
        Its files; none where it comes with a library or is generated.
    """

    name: str
    title: str
    licence: str
    load: Callable[..., Dataset]
    files: tuple[RemoteFile, ...] = ()


# Only success is remembered: an exception is not cached, so a file that was put right is looked at again.
@lru_cache(maxsize=256)
def _prove(file: RemoteFile, path: Path, size: int, changed: int) -> None:
    if fault := file.fault(path):
        raise DataError(
            f"a data file is not what it should be: {fault}",
            where=str(path),
            todo=f"Delete it, or put the file from {file.url} in its place.",
        )


def _sha256(path: Path, *, gzipped: bool) -> str:
    with path.open("rb") as stream:
        content: gzip.GzipFile | io.BufferedReader = gzip.GzipFile(fileobj=stream) if gzipped else stream
        return hashlib.file_digest(content, "sha256").hexdigest()
