"""How well samples were predicted that took no part in the fit, with intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Z = 1.96


def accuracy(right: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the share of samples predicted right, and its 95 % interval (``wilson1927probable``)."""
    n, p = len(right), float(right.mean())
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return p, max(0.0, middle - half), min(1.0, middle + half)


def r_squared(values: NDArray[Any], predictions: NDArray[Any]) -> tuple[float, float, float]:
    """Return 1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖² of [n, d] targets, and its 95 % interval by the jackknife over samples."""
    n = len(values)
    error = np.sum((values - predictions) ** 2, axis=1)
    spread = np.sum((values - values.mean(axis=0)) ** 2, axis=1)
    whole = 1 - error.sum() / spread.sum()
    # Leaving sample i out takes n/(n − 1) of its squared distance from the mean, exactly.
    without = 1 - (error.sum() - error) / (spread.sum() - n / (n - 1) * spread)
    if not np.isfinite(without).all():
        return float(whole), float(whole), float(whole)
    half = _Z * math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))
    return float(whole), float(whole - half), float(whole + half)
