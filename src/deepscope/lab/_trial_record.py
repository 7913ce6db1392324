"""One trial's record, and the line that stores it: exact, curves included. Never loads torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepscope.core import Case, UsageError, Value
from deepscope.lab._fitting import misfit
from deepscope.lab._plain_array import NUMERIC, array_of, plain_array

if TYPE_CHECKING:
    import pandas as pd

#: Version of a stored line.
VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialRecord:
    """What became of one trial.

    Attributes
    ----------
    identity
        Hash of what can change its result, in hexadecimal digits.
    study
        The study's id.
    case
        All fields of the case, defaults included.
    seed
        Its seed.
    status
        ``"finished"`` or ``"failed"``.
    values
        What it returned: numbers, text, None and NumPy arrays by name; empty where it failed.
    error
        Why it failed, in one line; ``""`` where it did not.
    wall_seconds, cpu_seconds, peak_memory_bytes
        What it took.
    device
        Where it was computed.
    log
        Lines that the trial said.
    run
        Id of the run in which it was made.
    """

    identity: str
    study: str
    case: Mapping[str, Value]
    seed: int
    status: Literal["finished", "failed"]
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    device: str = "cpu"
    log: tuple[str, ...] = ()
    run: str = ""


_TYPES: Mapping[str, Any] = {
    "identity": str,
    "study": str,
    "case": dict[str, Any],
    "seed": int,
    "status": str,
    "values": dict[str, Any],
    "error": str,
    "wall_seconds": float,
    "cpu_seconds": float,
    "peak_memory_bytes": int,
    "device": str,
    "log": list[str],
    "run": str,
}
# ASCII alone: no line can be torn within a character.
_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_SORTED_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)


def encode(record: TrialRecord) -> bytes:
    """Write a record as one line of JSON, the newline included; exact inverse of ``decode``.

    An array stands in it as its type, its shape and its bytes in base64. NumPy scalars become plain numbers.

    Raises
    ------
    TypeError
        A value is neither a number, text, None nor an array of numbers.
    """
    plain = {"version": VERSION, **vars(record), "case": dict(record.case), "values": _plain_values(record.values)}
    return _JSON.encode(plain).encode("ascii") + b"\n"


def decode(line: bytes) -> TrialRecord:
    """Read what ``encode`` wrote.

    Raises
    ------
    ValueError
        It is anything else, or was written by a newer deepscope.
    """
    try:
        said = _checked(json.loads(line))
        said["values"] = {name: _value(value) for name, value in said["values"].items()}
        said["log"] = tuple(said["log"])
        return TrialRecord(**said)
    except (KeyError, TypeError, AttributeError, RecursionError, UsageError) as error:
        raise ValueError(f"not a trial's record ({type(error).__name__}: {error})") from error


def _checked(said: Any) -> dict[str, Any]:
    """Return a line's fields, each of the kind that it should be."""
    fields = dict(said)
    version = fields.pop("version")
    if version != VERSION:
        raise ValueError(f"the line has version {version}, not {VERSION}")
    for name, kind in _TYPES.items():
        fault = misfit(fields[name], kind, name)
        if fault:
            raise ValueError(fault)
    # What no case can be comes from no trial, and would stop every run that looks for its own.
    Case(**fields["case"])
    if fields["status"] not in ("finished", "failed"):
        raise ValueError(f"unknown status {fields['status']}")
    return fields


def fingerprint(record: TrialRecord) -> str:
    """Return a hash of what a trial returned: equal for the same names with the same types and bits."""
    return hashlib.sha256(_SORTED_JSON.encode(_plain_values(record.values)).encode("ascii")).hexdigest()


def trials_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Return the finished trials as a table, in the order given: what ``judge`` and ``draw`` are handed.

    Columns: the fields of the case, ``seed``, the values. An array is one object in its column; a trial that lacks a
    value has none there (NaN among numbers).
    """
    import pandas as pd

    rows = [{**each.case, "seed": each.seed, **each.values} for each in records if each.status == "finished"]
    names = dict.fromkeys(name for row in rows for name in row) or {"seed": None}
    return pd.DataFrame({name: [row.get(name) for row in rows] for name in names})


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(name): _plain(name, value) for name, value in values.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a value is named {name!r}; names are text")
    return name


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in NUMERIC:
        return plain_array(value)
    raise TypeError(f"{name}: a trial's record cannot hold a {type(value).__name__}")


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    if "float" in plain:
        return float(plain["float"])
    return array_of(plain)
