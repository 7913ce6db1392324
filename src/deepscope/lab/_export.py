"""Runs as tables for other tools: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from deepscope.core import UsageError, write_atomically
from deepscope.lab._runs import Run

Row = dict[str, Any]
#: Columns that stand behind those of all studies.
_LAST = ("cpu_seconds", "wall_seconds", "error")


@dataclass(frozen=True)
class Exported:
    """A table that was written.

    Attributes
    ----------
    path
        Its file.
    left_out
        What of the runs is not in it, and why: one sentence for each run with trials or points that cannot be read.
    """

    path: Path
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Item:
    """A row to be: the columns that all such rows have before and behind those of its own."""

    first: Row
    own: Mapping[str, Any]
    last: Row = field(default_factory=dict)


def export_runs(runs: Sequence[Run], path: str | PathLike[str]) -> Exported:
    """Write runs of one kind as one table, whole or not at all.

    Studies: one row per trial, with ``run``, ``study``, ``scale``, ``modified``, ``identity``, ``status``, ``seed``,
    the fields of the case, the values, ``cpu_seconds``, ``wall_seconds``, ``error``. Examinations: one row per
    instrument and item, with ``run``, ``subject``, ``instrument`` and the instrument's own columns. Watched trainings:
    one row per measurement, with ``run``, ``subject`` and the columns of ``Watched.table``. Where runs have different
    columns, the table has all of them; a field or value that is named like one of the above is called ``value_…``,
    with as many of these as make it a name of its own.

    Parameters
    ----------
    runs
        As ``runs()`` and ``find_run()`` give them.
    path
        Ends in ``.csv`` or ``.parquet``. Numbers are exact in both. A curve is JSON text in CSV (NaN and Infinity as
        Python writes them) and a list in Parquet; complex numbers are pairs.

    Raises
    ------
    UsageError
        No runs, runs of two kinds, another ending, a file that cannot be written, or pyarrow is missing.
    DeepscopeError
        A run cannot be read.
    """
    target = Path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise UsageError("a table is CSV or Parquet", where=str(path), todo="Give a name ending in .csv or .parquet.")
    kinds = sorted({run.kind for run in runs})
    if len(kinds) != 1:
        raise UsageError(
            f"runs of different kinds do not fit into one table ({', '.join(kinds)})" if kinds else "no run to export",
            where=str(path),
            todo="Name runs of one kind; deepscope runs list shows them.",
        )
    read = [_ITEMS[kinds[0]](run) for run in runs]
    content = write(_rows([item for items, _ in read for item in items]))
    try:
        return Exported(write_atomically(target, content), tuple(reason for _, reason in read if reason))
    except OSError as error:
        raise UsageError(
            f"the table cannot be written ({error.strerror or error})",
            where=str(path),
            todo="Give a file in a folder that exists, is writable and has space.",
        ) from error


def _trials(run: Run) -> tuple[list[_Item], str]:
    """Return its trials, and how many cannot be read."""
    head = run.head()
    records, bad = run.trials()
    items = []
    for record in records:
        first = {
            "run": run.id,
            "study": record.study,
            "scale": head.get("scale"),
            "modified": head.get("modified"),
            "identity": record.identity,
            "status": record.status,
            "seed": record.seed,
        }
        last = {name: getattr(record, name) for name in _LAST}
        items.append(_Item(first, {**record.case, **record.values}, last))
    return items, run.unreadable(bad)


def _readings(run: Run) -> tuple[list[_Item], str]:
    record = run.record()
    items = []
    for instrument, reading in record["readings"].items():
        first = {"run": run.id, "subject": record["subject"]["name"], "instrument": instrument}
        items += [_Item(first, item) for item in reading["table"]]
    return items, ""


def _measurements(run: Run) -> tuple[list[_Item], str]:
    """Return its measurements, and how many of its points cannot be read."""
    record = run.record()
    first = {"run": run.id, "subject": record["subject"]["name"]}
    return [_Item(first, row) for row in record["table"]], run.unreadable(run.points()[1])


_ITEMS: Mapping[str, Callable[[Run], tuple[list[_Item], str]]] = {
    "examination": _readings,
    "study": _trials,
    "watch": _measurements,
}


def _rows(items: Sequence[_Item]) -> list[Row]:
    # One name for a value in all rows: those of other runs may have what would be its new name.
    names = _names({name for item in items for name in item.own}, {n for i in items for n in (*i.first, *i.last)})
    return [
        {**item.first, **{names[name]: _as_list(value) for name, value in item.own.items()}, **item.last}
        for item in items
    ]


def _names(own: set[str], taken: set[str]) -> dict[str, str]:
    """Return by name what a column is called: itself, where it is not taken."""
    used = own | taken
    names = {name: name for name in own - taken}
    for name in sorted(own & taken):
        new = f"value_{name}"
        while new in used:
            new = f"value_{new}"
        used.add(new)
        names[name] = new
    return names


def _as_list(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "c":
        value = np.stack([value.real, value.imag], axis=-1)
    # Python has no longer floating-point number than float64.
    return (value.astype(np.float64) if value.dtype.kind == "f" and value.itemsize > 8 else value).tolist()


def _columns(rows: Iterable[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=lambda name: name in _LAST)


def _csv(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    table.writeheader()
    # The csv module writes a float as repr does: the shortest text that reads back as the same number.
    table.writerows({name: json.dumps(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows)
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def _parquet(rows: list[Row]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed", todo="pip install 'deepscope[data]', or export CSV."
        ) from error

    columns = {name: [row.get(name) for row in rows] for name in _columns(rows)}
    content = io.BytesIO()
    parquet.write_table(pa.table({name: _array(values) for name, values in columns.items()}), content)
    return content.getvalue()


def _array(values: list[Any]) -> Any:
    """Return a column as Arrow has it; as JSON text where the runs disagree about what its values are."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])


_WRITERS: Mapping[str, Callable[[list[Row]], bytes]] = {".csv": _csv, ".parquet": _parquet}
