"""What a verb leaves behind: a record on standard output, a report in a file."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepscope._terminal import console, forget_stdout

if TYPE_CHECKING:
    from rich.console import Console

_Written = TypeVar("_Written")


def show(
    record: Mapping[str, Any], text: Callable[[Mapping[str, Any], Console], None], *, json: bool, out: Path | None
) -> None:
    """Print a record as JSON or as text. A reader who leaves early does not change the exit code."""
    if json:
        print_json(record)
        return
    try:
        text(record, console())
        if out is not None:
            print(f"\nReport: {out}", flush=True)
    except BrokenPipeError:
        forget_stdout()


def print_json(value: object) -> None:
    """Print a value as JSON. A reader who leaves early does not change the exit code."""
    try:
        print(json_module.dumps(value, allow_nan=False), flush=True)
    except BrokenPipeError:
        forget_stdout()


def check_writable(out: Path | None) -> None:
    """Refuse a report that could not be written, before the work is done.

    Raises
    ------
    UsageError
        It ends in neither ``.html`` nor ``.json``, or its folder is missing or not writable.
    """
    from deepscope.lab import check_report_path

    if out is not None:
        check_report_path(out)
        check_folder(out, "report", "Give a file in a folder that exists and is writable.")


def check_folder(path: Path, what: str, todo: str) -> None:
    """Refuse a file whose folder is missing or not writable.

    Raises
    ------
    UsageError
        It is.
    """
    from deepscope.core import UsageError

    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"the {what} cannot be written", where=str(path), todo=todo)


def save(write: Callable[[Path], _Written], path: Path, what: str = "report") -> _Written:
    """Write a file, and return what its writer returns.

    Raises
    ------
    UsageError
        The disk is full, or the folder went away.
    """
    from deepscope.core import UsageError

    try:
        return write(path)
    except OSError as error:
        raise UsageError(
            f"the {what} cannot be written ({error.strerror or error})",
            where=str(path),
            todo="Free some space, or give another path.",
        ) from error
