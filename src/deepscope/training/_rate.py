"""Arguments of regularisers, refused with a word on what they can be."""

from __future__ import annotations

import math

from torch import Tensor

from deepscope.core import UsageError


def rate(value: float, argument: str, where: str) -> float:
    """Return a share that is dropped, or refuse a number that is not in [0, 1).

    Where all is dropped no scale keeps the mean.

    Raises
    ------
    UsageError
        It is not.
    """
    if not 0 <= value < 1:
        raise UsageError(f"{argument} is {value!r}", where=where, todo="Give a share of at least 0, below 1.")
    return float(value)


def above_zero(value: float, argument: str, where: str) -> float:
    """Return a number, or refuse one that is not finite and above 0.

    Raises
    ------
    UsageError
        It is not.
    """
    if not 0 < value < math.inf:
        raise UsageError(f"{argument} is {value!r}", where=where, todo="Give a finite number above 0.")
    return float(value)


def count(value: int, argument: str, where: str) -> int:
    """Return a number of things, or refuse one that is not a whole number of at least 1.

    Raises
    ------
    UsageError
        It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{argument} is {value!r}", where=where, todo="Give a whole number of at least 1.")
    return value


def check(x: Tensor, fits: bool, wanted: str, where: str) -> None:
    """Refuse an input whose shape does not fit, or that is not of floating-point numbers.

    Raises
    ------
    UsageError
        It does not fit.
    """
    if not (fits and x.is_floating_point()):
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=where,
            todo=f"Give {wanted} of floating-point numbers.",
        )
