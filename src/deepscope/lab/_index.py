"""A cache of what every run's ``run.json`` says, so that thousands are listed without opening them.

It only speeds up. The file is never changed, only replaced whole: readers need no lock and see no half, and of two
processes that write it the later one wins. One that is missing, damaged or of another version counts as empty; one that
cannot be written is done without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from deepscope.core import write_atomically

NAME = "index.sqlite"
VERSION = 1


class Head(NamedTuple):
    """What a run's ``run.json`` says, and the stamp of the file that said it."""

    stamp: str
    kind: str
    name: str
    date: str
    outcome: str


def load(folder: Path) -> dict[str, Head]:
    """Return the heads that the index holds, by directory name; nothing where it cannot be used."""
    try:
        file = (folder / NAME).absolute().as_uri()
        with closing(sqlite3.connect(f"{file}?mode=ro&immutable=1", uri=True)) as index:
            if index.execute("PRAGMA user_version").fetchone() != (VERSION,):
                return {}
            return {
                directory: Head(*head)
                for directory, *head in index.execute("SELECT directory, stamp, kind, name, date, outcome FROM heads")
            }
    except (sqlite3.Error, OSError, ValueError):
        return {}


def save(folder: Path, heads: Mapping[str, Head]) -> None:
    """Replace the index, if it can be written."""
    try:
        with closing(sqlite3.connect(":memory:")) as index:
            index.execute(f"PRAGMA user_version = {VERSION}")
            index.execute("CREATE TABLE heads (directory TEXT PRIMARY KEY, stamp, kind, name, date, outcome)")
            rows = ((directory, *head) for directory, head in heads.items())
            index.executemany("INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?)", rows)
            index.commit()
            write_atomically(folder / NAME, index.serialize())
    # ValueError: a name that is no Unicode text, which SQLite cannot hold.
    except (sqlite3.Error, OSError, ValueError):
        return
