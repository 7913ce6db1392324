"""Load, fetch and verify a dataset by its name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from deepscope.core import UsageError, nearest
from deepscope.data._catalog import find
from deepscope.data._dataset import Dataset
from deepscope.data._download import Progress
from deepscope.data._source import Source
from deepscope.data._store import locate, obtain


@dataclass(frozen=True)
class FileState:
    """How one file of a dataset stands.

    Attributes
    ----------
    file
        Its place below the folder of all data.
    path
        Where it was found, or None.
    status
        ``"right"``, ``"wrong"`` or ``"missing"``.
    detail
        What is wrong, or where it was looked for.
    """

    file: str
    path: Path | None
    status: Literal["right", "wrong", "missing"]
    detail: str = ""


def load(name: str, *, offline: bool | None = None, **options: Any) -> Dataset:
    """Load a dataset; fetch it first where it is not on this machine.

    Files are looked for in the folder that ``DEEPSCOPE_DATA`` names, then in the cache (``home()``), and else
    downloaded into the cache. Each is checked against its checksum, once per process.

    Parameters
    ----------
    name
        Its name in the catalog.
    offline
        True never touches the network, False may; None leaves it to ``DEEPSCOPE_OFFLINE``.
    **options
        What the dataset lets one choose, such as ``context`` of ``tinyshakespeare``.

    Raises
    ------
    UsageError
        There is no such dataset, or it has no such option.
    DataError
        A file is missing and cannot be fetched, or is not the right one; an extra that it needs is not installed.

    Examples
    --------
    >>> digits = load("digits")
    >>> len(digits.train), len(digits.test), tuple(digits.train.inputs.shape[1:])
    (1438, 359, (1, 8, 8))
    """
    source = find(name)
    _refuse_unknown(options, source)
    dataset = source.load(obtain(source, offline=offline), **options)
    parts = {part: replace(getattr(dataset, part), name=f"{name} ({part})") for part in ("train", "test")}
    return replace(dataset, **parts)


def fetch(name: str, *, offline: bool | None = None, progress: Progress | None = None) -> tuple[Path, ...]:
    """Make sure that a dataset's files are on this machine, and right; return their paths.

    Parameters
    ----------
    name
        Its name in the catalog.
    offline
        As in ``load``.
    progress
        Called as ``progress(file, done, total)`` with the bytes so far and in all while a file arrives.

    Raises
    ------
    UsageError
        There is no such dataset.
    DataError
        A file is missing and cannot be fetched, or is not the right one.
    """
    return obtain(find(name), offline=offline, progress=progress)


def verify(name: str) -> tuple[FileState, ...]:
    """Read every file of a dataset on this machine and say which are right; never touches the network.

    A dataset that comes with a library has no files, and the answer is empty.

    Raises
    ------
    UsageError
        There is no such dataset.
    DataError
        An extra that the check needs is not installed.
    """
    return states(find(name))


def states(source: Source) -> tuple[FileState, ...]:
    """Say how each file of a source stands, as ``verify`` does by name."""
    location = locate(source)
    found = []
    for file, path in zip(source.files, location.paths, strict=True):
        if path is None:
            looked = f"not in {' or '.join(map(str, location.searched))}"
            found.append(FileState(file.path, None, "missing", looked))
        else:
            fault = file.fault(path)
            found.append(FileState(file.path, path, "wrong" if fault else "right", fault))
    return tuple(found)


def _refuse_unknown(options: dict[str, Any], source: Source) -> None:
    known = list(inspect.signature(source.load).parameters)[1:]
    for option in options:
        if option not in known:
            todo = nearest(option, known) if known else "It has no options."
            raise UsageError(f"{source.name} has no such option", where=option, todo=todo)
