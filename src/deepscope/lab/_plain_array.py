"""Arrays within a line of JSON: exact, on every machine."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

#: Kinds of arrays of numbers, by NumPy's letters.
NUMERIC = "biufc"


def plain_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return an array as its type, its shape and its bytes in base64."""
    data = base64.b64encode(array.tobytes()).decode("ascii")
    # The type names its byte order, so that the bytes mean the same on every machine.
    return {"array": array.dtype.str, "shape": list(array.shape), "data": data}


def array_of(plain: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return the array again; exact inverse of ``plain_array``.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is anything else.
    """
    kind = np.dtype(plain["array"])
    if kind.kind not in NUMERIC:
        raise ValueError(f"an array of {kind}")
    data = bytearray(base64.b64decode(plain["data"], validate=True))
    shape = tuple(plain["shape"])
    if len(data) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"an array of shape {shape} with {len(data)} bytes")
    return np.ndarray(shape, kind, buffer=data)
