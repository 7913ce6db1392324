"""Runs as tables for other tools: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from deepscope.core import UsageError, write_atomically
from deepscope.lab._runs import Run

Row = dict[str, Any]
#: Columns that stand behind those of all studies.
_LAST = ("cpu_seconds", "wall_seconds", "error")


def export_runs(runs: Sequence[Run], path: str | PathLike[str]) -> Path:
    """Write runs of one kind as one table, whole or not at all.

    Studies: one row per trial, with ``run``, ``study``, ``scale``, ``modified``, ``identity``, ``status``, ``seed``,
    the fields of the case, the values, ``cpu_seconds``, ``wall_seconds``, ``error``. Examinations: one row per
    instrument and item, with ``run``, ``subject``, ``instrument`` and the instrument's own columns. Where runs have
    different columns, the table has all of them; a field or value that is named like one of the above is called
    ``value_…``.

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
            "examinations and studies do not fit into one table" if kinds else "no run to export",
            where=str(path),
            todo="Name runs of one kind; deepscope runs list shows them.",
        )
    rows_of = _trials if kinds[0] == "study" else _readings
    content = write([row for run in runs for row in rows_of(run)])
    try:
        return write_atomically(target, content)
    except OSError as error:
        raise UsageError(
            f"the table cannot be written ({error.strerror or error})",
            where=str(path),
            todo="Give a file in a folder that exists, is writable and has space.",
        ) from error


def _trials(run: Run) -> list[Row]:
    head = run.head()
    records, _ = run.trials()
    rows = []
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
        rows.append({**first, **_named({**record.case, **record.values}, (*first, *_LAST)), **last})
    return rows


def _readings(run: Run) -> list[Row]:
    record = run.record()
    rows = []
    for instrument, reading in record["readings"].items():
        first = {"run": run.id, "subject": record["subject"]["name"], "instrument": instrument}
        rows += [{**first, **_named(item, first)} for item in reading["table"]]
    return rows


def _named(values: Mapping[str, Any], taken: Iterable[str]) -> Row:
    return {f"value_{name}" if name in taken else name: _as_list(value) for name, value in values.items()}


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
