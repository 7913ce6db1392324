"""Files that weights are read from: looked at without trust, read only while they stay the same."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from deepscope.core import LeftOut, TargetError, first_line
from deepscope.subject._weight import Weight, torch_dtype

#: The formats' own limit for a JSON header; no real one comes near it.
MAX_JSON_BYTES = 100_000_000
#: Seconds between two time stamps that a file system tells apart: Linux before 6.13 stamps at 100 to 1000 Hz.
_TICK = 0.01


@dataclass(frozen=True)
class Contents:
    """What one file holds: its format, its weights in the file's order, and what is no weight."""

    format: str
    weights: tuple[Weight, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class FileVersion:
    """A file as it was when it was looked at."""

    path: str
    size: int
    mtime_ns: int

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading, and make sure that it is this version, before and after.

        Raises
        ------
        TargetError
            The file is gone, cannot be read, or has changed.
        """
        with _explained(self.path), Path(self.path).open("rb") as stream:
            self.check(os.fstat(stream.fileno()))
            yield stream
            self.check(os.fstat(stream.fileno()))

    def check(self, now: os.stat_result) -> None:
        """Raise a TargetError where the file is another now."""
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns):
            raise TargetError(
                "the checkpoint changed while being read",
                where=shown(self.path),
                todo="Measure it again once nothing writes to it.",
            )


def look(path: Path) -> FileVersion:
    """Return the version of a regular file that has something in it.

    Raises
    ------
    TargetError
        It is missing, no regular file (a device or a pipe would block or never end), empty, not readable, or being
        written.

    Notes
    -----
    Of a file that was written less than a tick of the clock ago it waits for the tick, so that whatever is written
    later has another time.
    """
    if "\0" in str(path):
        raise TargetError("a path cannot hold a NUL character", where=shown(path), todo="Check the path.")
    with _explained(str(path)):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise TargetError("not a regular file", where=shown(path), todo="Give a checkpoint file or its folder.")
        with path.open("rb"):
            pass
    if found.st_size == 0:
        raise TargetError("the file is empty", where=shown(path), todo="Copy or save the checkpoint again.")
    version = FileVersion(str(path.absolute()), found.st_size, found.st_mtime_ns)
    if 0 <= time.time() - found.st_mtime < _TICK:
        time.sleep(_TICK)
        with _explained(str(path)):
            version.check(path.stat())
    return version


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise TargetError("no such file", where=shown(path), todo="Check the path.") from None
    except PermissionError:
        raise TargetError("no permission to read", where=shown(path), todo="Change the file's permissions.") from None
    except OSError as error:
        raise TargetError(f"cannot be read ({error.strerror})", where=shown(path), todo="Check the path.") from None


def damaged(what: str, path: str | os.PathLike[str]) -> TargetError:
    """Return the error for a file that is not what its format says."""
    return TargetError(what, where=shown(path), todo="Copy, download or save the checkpoint again.")


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as one line of text, whatever characters are in it."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def quoted(name: object) -> str:
    r"""Return a tensor's name in quotes, as one short line of text, whatever characters are in it.

    >>> print(quoted(chr(10)))
    '\n'
    """
    text = ascii(name) if isinstance(name, str) and not name.isprintable() else repr(name)
    return text if len(text) <= 120 else f"{text[:110]}…{text[-8:]}"


def short_line(error: BaseException) -> str:
    """Return the beginning of an error's message: printable, and short enough for one line beside a path."""
    line = "".join(each if each.isprintable() else " " for each in first_line(error))
    return line if len(line) <= 160 else f"{line[:159]}…"


def check_name(name: object, path: str) -> str:
    """Return a tensor's name, or raise a TargetError where it is not text that can be written as UTF-8."""
    if isinstance(name, str):
        try:
            name.encode()
        except UnicodeEncodeError:
            pass
        else:
            return name
    raise damaged(f"a tensor's name is not text: {quoted(name)}", path)


def read_bytes(file: FileVersion, offset: int, count: int) -> Tensor:
    """Return bytes of a file as a tensor of uint8.

    They are read, not mapped: a file that is cut short meanwhile is then an error and not a crash of the process, and
    no page of the file stays in memory when the tensor is gone.
    """
    buffer = torch.empty(count, dtype=torch.uint8)
    view = memoryview(buffer.numpy())  # type: ignore[arg-type]
    with file.open() as stream:
        stream.seek(offset)
        done = 0
        while done < count:
            step = stream.readinto(view[done:])  # type: ignore[attr-defined]
            if not step:
                raise damaged("the file ends too early", file.path)
            done += step
    return buffer


def read_strided(
    file: FileVersion, offset: int, dtype: str, shape: tuple[int, ...], stride: tuple[int, ...] | None = None
) -> Tensor:
    """Return the tensor whose first value stands at a byte of the file.

    Parameters
    ----------
    file, offset
        The file, and the byte where the first value begins.
    dtype
        torch's name of the type.
    shape, stride
        Sizes and strides in values; without strides the values stand in row-major order.
    """
    kind = torch_dtype(dtype)
    if 0 in shape:
        return torch.empty(shape, dtype=kind)
    if stride is None:
        count = math.prod(shape)
    else:
        count = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    values = read_bytes(file, offset, count * kind.itemsize).view(kind)
    return values.reshape(shape) if stride is None else values.as_strided(shape, stride)
