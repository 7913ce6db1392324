"""A report as a file, and as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepscope.core import UsageError, write_atomically

if TYPE_CHECKING:
    from rich.console import Console

Record = Mapping[str, Any]
_PAGES, _DATA = (".html", ".htm"), (".json",)


def check_report_path(path: str | PathLike[str]) -> Path:
    """Return the path of a report, if its name says what it is to be.

    Raises
    ------
    UsageError
        The name ends in neither ``.html`` nor ``.json``.
    """
    target = Path(path)
    if target.suffix.lower() not in _PAGES + _DATA:
        raise UsageError("a report is a page or data", where=str(path), todo="Give a name ending in .html or .json.")
    return target


def write_report(path: str | PathLike[str], record: Record, page: Callable[[Record], str]) -> Path:
    """Write a record as a page (``.html``) or as data (``.json``), whole or not at all.

    Raises
    ------
    UsageError
        The name ends in neither.
    OSError
        The file cannot be written.
    """
    target = check_report_path(path)
    is_page = target.suffix.lower() in _PAGES
    return write_atomically(target, page(record) if is_page else json.dumps(record, allow_nan=False, indent=1))


def as_text(draw: Callable[[Record, Console], None], record: Record) -> str:
    """Return what a terminal of 100 columns would show."""
    from rich.console import Console

    out = StringIO()
    draw(record, Console(file=out, width=100, no_color=True))
    return out.getvalue()
