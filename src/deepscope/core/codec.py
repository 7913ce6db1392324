"""Records to JSON and arrays, and back exactly."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np

T = TypeVar("T")
Arrays = dict[str, np.ndarray[Any, Any]]


def pack(record: Any) -> tuple[Any, Arrays]:
    """Split a record into what JSON can hold and the arrays beside it.

    Parameters
    ----------
    record
        A dataclass whose fields are numbers, text, None, tuples, mappings with text keys, further dataclasses, or
        NumPy arrays, in any nesting.

    Returns
    -------
    json, arrays
        ``json`` holds ``{"array": key}`` where an array stood; ``arrays`` maps the keys to the arrays.

    Raises
    ------
    ValueError
        A number is not finite: a record says None and gives a status instead.
    TypeError
        Something that cannot be written exactly: a key that is not text, an array of objects, an unknown type.
    """
    arrays: Arrays = {}
    return _pack(record, arrays, ""), arrays


def _pack(value: Any, arrays: Arrays, path: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _pack(getattr(value, f.name), arrays, f"{path}/{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{path[1:]}: a record cannot hold an array of objects")
        arrays[path[1:]] = value
        return {"array": path[1:]}
    if isinstance(value, Mapping):
        return {_text(key, path): _pack(item, arrays, f"{path}/{_escaped(key)}") for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_pack(item, arrays, f"{path}/{index}") for index, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.floating, np.integer)):
        number = value.item() if isinstance(value, np.generic) else value
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"{path[1:]} is {number}: a record says None, with a status, where there is no number")
        return number
    raise TypeError(f"{path[1:]}: a record cannot hold a {type(value).__name__}")


def _text(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path[1:]}: a record's mappings have text keys, not a {type(key).__name__}")
    return key


def _escaped(key: Any) -> str:
    # As in a JSON pointer: {"a/b": x} and {"a": {"b": x}} are two places.
    return str(key).replace("~", "~0").replace("/", "~1")


def unpack(kind: type[T], json: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> T:
    """Build the record again that ``pack`` took apart; exact inverse."""
    return typing.cast("T", _unpack(kind, json, arrays))


def _unpack(kind: Any, value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _unpack(_the_other(arguments), value, arrays)
    if kind is np.ndarray or origin is np.ndarray:
        return arrays[value["array"]]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        build: Any = kind
        return build(**{f.name: _unpack(hints[f.name], value[f.name], arrays) for f in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return kind(*(_unpack(hints[name], item, arrays) for name, item in zip(hints, value, strict=True)))
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_unpack(arguments[0], item, arrays) for item in value)
        return tuple(_unpack(each, item, arrays) for each, item in zip(arguments, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _unpack(arguments[1], item, arrays) for key, item in value.items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return [_unpack(arguments[0], item, arrays) for item in value]
    return float(value) if kind is float else value


def _the_other(arguments: tuple[Any, ...]) -> Any:
    rest = [each for each in arguments if each is not type(None)]
    if len(rest) != 1:
        raise TypeError(f"a record's field can be one type or None, not {arguments}")
    return rest[0]
