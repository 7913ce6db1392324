"""The mean of independent draws, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its standard error and its 95 % interval.

    Attributes
    ----------
    value
        The number.
    stderr
        Its standard error; 0 where it is exact up to rounding.
    low, high
        Ends of the interval.
    """

    value: float
    stderr: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Band:
    """A curve with its pointwise 95 % interval; all of one shape.

    Attributes
    ----------
    value
        The curve.
    low, high
        Ends of the interval.
    """

    value: Floats
    low: Floats
    high: Floats


def standard_error(draws: Floats) -> Floats:
    """Return that of the mean over the first axis."""
    return np.asarray(draws.std(axis=0, ddof=1) / math.sqrt(len(draws)))


def student_t(n_draws: int) -> float:
    """Return how many standard errors the ends of an interval lie from the mean: Student's t, n_draws − 1 degrees."""
    return float(stdtrit(n_draws - 1, (1 + _CONFIDENCE) / 2))


def mean_of(draws: Floats) -> Estimate:
    """Return the mean of at least two independent numbers, with Student's interval."""
    value, stderr = float(draws.mean()), float(standard_error(draws))
    half = student_t(len(draws)) * stderr
    return Estimate(value=value, stderr=stderr, low=value - half, high=value + half)
