"""Stored JSON that is what it should be, as a description in types says it. Never loads torch."""

from __future__ import annotations

import json
import math
import reprlib
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

#: Levels of lists and objects within each other; what deepscope writes has far fewer.
_DEEPEST = 50
_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}


class NewerError(ValueError):
    """A file was written by a newer deepscope."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is not JSON, or nested too deeply.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _depth(found) > _DEEPEST:
        raise ValueError("it is nested too deeply")
    return found


def read_fitting(path: Path, kind: Any) -> dict[str, Any]:
    """Read a JSON file, and see that it fits a description.

    Parameters
    ----------
    path
        The file.
    kind
        A ``TypedDict``, as for ``misfit``. Where it has ``schema: Literal[…]``, that is looked at first.

    Raises
    ------
    OSError
        The file cannot be read.
    NewerError
        Its schema is a later one.
    ValueError
        It is not JSON, or does not fit.
    """
    found: dict[str, Any] = read_json(path)
    if isinstance(found, dict):
        _check_schema(found, kind)
    fault = misfit(found, kind)
    if fault:
        raise ValueError(fault)
    return found


def misfit(value: Any, kind: Any, where: str = "") -> str:
    """Say where JSON does not fit a description; ``""`` where it does.

    Parameters
    ----------
    value
        As ``json.loads`` returns it.
    kind
        ``str``, ``bool``, ``int``, ``float`` (whole numbers too), ``None``, ``Any``, a ``Literal``, a union of these,
        ``list[…]``, ``dict[str, …]`` or a ``TypedDict``, beside whose fields there may be others. Numbers must be
        finite in double precision.
    where
        Its place in what is read, such as ``"cost.cpu_seconds"``.

    Examples
    --------
    >>> misfit([1, 2.5], list[float])
    ''
    >>> misfit({"cost": "x"}, dict[str, float | None], "spent")
    "its spent.cost is 'x', not a number"
    """
    if kind is Any:
        return ""
    if kind in _NAMES:
        return "" if _is_a(value, kind) else _is_not(value, _NAMES[kind], where)
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        return _fields(value, kind, where)
    if origin in (Union, UnionType):
        faults = [misfit(value, each, where) for each in arguments]
        return "" if "" in faults else faults[0]
    if origin is Literal:
        known = any(type(value) is type(each) and value == each for each in arguments)
        return "" if known else _is_not(value, f"one of {', '.join(map(repr, arguments))}", where)
    if origin is list:
        if not isinstance(value, list):
            return _is_not(value, "a list", where)
        return _first(misfit(each, arguments[0], f"{where}[{index}]") for index, each in enumerate(value))
    if not isinstance(value, dict):
        return _is_not(value, "an object", where)
    return _first(misfit(each, arguments[1], _within(where, name)) for name, each in value.items())


def _fields(value: Any, kind: Any, where: str) -> str:
    if not isinstance(value, dict):
        return _is_not(value, "an object", where)
    for name, its in _hints(kind).items():
        if name in value:
            fault = misfit(value[name], its, _within(where, name))
        else:
            fault = f"it has no {_within(where, name)}" if name in kind.__required_keys__ else ""
        if fault:
            return fault
    return ""


# Resolving the annotations takes longer than all the rest.
_hints = cache(get_type_hints)


def _is_a(value: Any, kind: type) -> bool:
    if kind not in (int, float):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_schema(found: dict[str, Any], kind: Any) -> None:
    known = get_args(_hints(kind).get("schema"))
    said = found.get("schema")
    if not known or said in known:
        return
    fault = f"its schema is {reprlib.repr(said)}, this deepscope reads {known[0]}"
    raise NewerError(fault) if _version(said) > _version(known[0]) else ValueError(fault)


def _version(schema: Any) -> int:
    """Return the number in ``2`` and in ``"deepscope.examination/2"``."""
    last = str(schema).rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        nested = [each for each in level if isinstance(each, (list, dict))]
        level = [item for each in nested for item in (each.values() if isinstance(each, dict) else each)]
        depth += bool(nested)
    return depth


def _first(faults: Any) -> str:
    return next(filter(None, faults), "")


def _within(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _is_not(value: Any, what: str, where: str) -> str:
    return f"{f'its {where}' if where else 'it'} is {reprlib.repr(value)}, not {what}"
