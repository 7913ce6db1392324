"""What a trial, or a shared step, returned, as plain numbers, text and arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepscope.core import MeasurementError


def plain_values(returned: Any, *, where: str, taken: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return named numbers, text, None and NumPy arrays.

    Parameters
    ----------
    returned
        A mapping from names to numbers, text, None, or arrays, tensors and lists of numbers. What is masked is missing.
    where
        What returned it, for the message.
    taken
        Names that a value may not have: the fields of the case.

    Raises
    ------
    MeasurementError
        It is something else, or a number is NaN or infinite. Entries of arrays may be.
    """
    if not isinstance(returned, Mapping):
        raise MeasurementError(
            f"returned a {type(returned).__name__}, not named values", where=where, todo='Return {"name": number, …}.'
        )
    values = {}
    for name, value in returned.items():
        if not isinstance(name, str) or not name:
            raise MeasurementError(f"returned a value named {name!r}", where=where, todo="Name each value with text.")
        if name == "seed" or name in (taken or {}):
            raise MeasurementError(
                f"returned a value named {name}, as the case has it", where=where, todo="Give the value another name."
            )
        values[name] = _plain(name, value, where)
    return values


def _plain(name: str, value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            raise _unknown(name, value, where, "text that is not Unicode")
        # Of an enumeration too, the plain text.
        return str.__str__(value)
    if hasattr(value, "detach"):
        # numpy has no bfloat16.
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    if value is np.ma.masked:
        return None
    if isinstance(value, np.ma.MaskedArray):
        value = np.where(np.ma.getmaskarray(value), math.nan, np.ma.getdata(value))
    if not isinstance(value, (int, float)):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise _unknown(name, value, where) from error
        if array.dtype.kind not in "biuf":
            raise _unknown(name, value, where)
        if array.ndim:
            return np.ascontiguousarray(array)
        value = array.item()
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _unknown(name, value, where, "an integer of more than 64 bits")
        return int(value)
    value = float(value)
    if not math.isfinite(value):
        raise MeasurementError(
            f"returned {value} for {name}",
            where=where,
            todo="Return None where there is no number; find out why it is not finite where there should be one.",
        )
    return value


def _unknown(name: str, value: Any, where: str, what: str = "") -> MeasurementError:
    return MeasurementError(
        f"returned {what or type(value).__name__} for {name}",
        where=where,
        todo="Return numbers, text, None, or arrays of numbers.",
    )
