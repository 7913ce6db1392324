"""What the spectrum of a purely random matrix looks like: the Marchenko–Pastur law and its largest eigenvalue.

All functions speak of the eigenvalues of WᵀW (no division by a number of samples) of a rows × cols matrix whose
entries are independent with mean 0 and a given variance; only the eigenvalues of the smaller Gram matrix, WWᵀ or WᵀW,
count. With s ≤ l the two sides and β = s/l, an eigenvalue is variance · l · y, and y follows the law with ratio β on
[(1 − √β)², (1 + √β)²].
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from deepscope.linalg._tracy_widom import tracy_widom_quantile


def mp_edges(rows: int, cols: int, variance: float) -> tuple[float, float]:
    """Return the asymptotic smallest and largest eigenvalue of WᵀW of a random matrix.

    variance · (√rows ∓ √cols)². Source: ``marchenko1967distribution``.

    >>> mp_edges(100, 400, 0.01)
    (1.0, 9.0)
    """
    low, high = math.sqrt(rows) - math.sqrt(cols), math.sqrt(rows) + math.sqrt(cols)
    return variance * low * low, variance * high * high


def mp_cdf(x: ArrayLike, rows: float, cols: float, variance: float) -> NDArray[np.float64]:
    """Return the share of the eigenvalues of WᵀW of a random matrix that are at most x.

    Parameters
    ----------
    x
        Eigenvalues, any shape.
    rows, cols, variance
        Shape of the matrix and variance of its entries.

    Returns
    -------
    ndarray
        Values in [0, 1], of the shape of x.
    """
    short, long = sorted((rows, cols))
    beta = short / long
    y = np.asarray(x, dtype=np.float64) / (variance * long)
    cosine = np.clip((y - 1 - beta) / (2 * math.sqrt(beta)), -1.0, 1.0)
    return np.asarray(_cdf(np.arccos(cosine), beta))


def _cdf(angle: Any, beta: float) -> Any:
    """Return the distribution function at y = 1 + β + 2√β cos(angle); exact."""
    # In the angle the density is (2/π) sin² / (1 + β + 2√β cos), whose integral is elementary.
    p, q = 1 + beta, 2 * math.sqrt(beta)
    ratio = (1 - math.sqrt(beta)) / (1 + math.sqrt(beta))
    turn = 2 * np.arctan(ratio * np.tan(np.minimum(angle, np.pi) / 2))
    below = (p * angle - q * np.sin(angle) - (1 - beta) * turn) / (q * q)
    return np.clip(1 - 2 / np.pi * below, 0.0, 1.0)


@lru_cache(maxsize=1024)
def mp_median(rows: int, cols: int) -> float:
    """Return the median eigenvalue of WᵀW of a random matrix with entries of variance 1.

    >>> round(mp_median(1000, 1000) / 1000, 3)
    0.653
    """
    short, long = sorted((rows, cols))
    beta = short / long
    angle = float(brentq(lambda t: float(_cdf(t, beta)) - 0.5, 0.0, math.pi, xtol=1e-14))
    return long * (1 + beta + 2 * math.sqrt(beta) * math.cos(angle))


def mp_distance(eigenvalues: NDArray[np.float64], rows: float, cols: float, variance: float) -> float:
    """Return the largest distance between the distribution functions of eigenvalues, ascending, and of the law.

    Where k spikes have been taken out, the rest is that of a matrix with k rows and k columns less.
    """
    model = mp_cdf(eigenvalues, rows, cols, variance)
    ranks = np.arange(eigenvalues.size + 1) / eigenvalues.size
    return float(np.maximum(np.abs(model - ranks[:-1]), np.abs(model - ranks[1:])).max())


def mp_distance_limit(rows: float, cols: float, n_matrices: int = 1) -> float:
    """Return the ``mp_distance`` that about one noise matrix in a thousand exceeds, its variance being estimated.

    With s the shorter side, (0.2 + (2.5 + 0.35 log₂(s/16)) / √n_matrices) / s. Eigenvalues of noise repel each other,
    so that the distance shrinks nearly as 1/s and not as 1/√s, and hardly depends on the longer side. Pooling averages
    its scatter, but not the 0.2 / s by which the mean spectrum of finite matrices departs from the law. The constants
    are fitted to the 99.9 % quantiles for s from 16 to 512 and up to 3000 matrices; the tests measure the rate.

    >>> round(mp_distance_limit(256, 1024), 4)
    0.016
    """
    side = min(rows, cols)
    return (0.2 + (2.5 + 0.35 * math.log2(side / 16)) / math.sqrt(n_matrices)) / side


def mp_variance(eigenvalues: NDArray[np.float64], rows: int, cols: int) -> float:
    """Return the variance of the entries of the random part of a matrix, judged by its median eigenvalue.

    The median is not moved by a few large eigenvalues, so that a strong signal does not hide itself by raising its
    own null. Zero where more than half of the eigenvalues are zero. Source: ``gavish2014optimal``.

    Parameters
    ----------
    eigenvalues
        All eigenvalues of the smaller Gram matrix, or those of several matrices of this shape pooled.
    rows, cols
        Shape of the matrix.
    """
    return float(np.median(eigenvalues)) / mp_median(rows, cols)


def tracy_widom_centre(rows: float, cols: float) -> float:
    """Return what the largest eigenvalue of WᵀW fluctuates about, for normal entries of variance 1.

    (√(rows − ½) + √(cols − ½))²: the largest eigenvalue is this plus ``tracy_widom_scale`` times a variable of the law
    TW₁. With these halves the error falls as min(rows, cols)^{−2/3}; with rows − 1 and cols (for the longer and the
    shorter side), or with the bulk's edge, as its ^{−1/3}: both lie too high, and for square matrices the first two
    agree. Sources: ``johnstone2001distribution``; the halves, ``ma2012accuracy``.

    >>> tracy_widom_centre(100.5, 400.5)
    900.0
    """
    return (math.sqrt(rows - 0.5) + math.sqrt(cols - 0.5)) ** 2


def tracy_widom_scale(rows: float, cols: float) -> float:
    """Return the scale on which the largest eigenvalue of WᵀW fluctuates, for entries of variance 1.

    (√a + √b) · (1/√a + 1/√b)^{1/3} with a = rows − ½ and b = cols − ½. Source: ``ma2012accuracy``.
    """
    a, b = math.sqrt(rows - 0.5), math.sqrt(cols - 0.5)
    return float((a + b) * (1 / a + 1 / b) ** (1 / 3))


def tracy_widom_threshold(rows: int, cols: int, variance: float, level: float = 0.99) -> float:
    """Return the value that the largest eigenvalue of a random matrix exceeds with probability 1 − level.

    variance · (centre + scale · quantile of the Tracy–Widom law).

    Raises
    ------
    UsageError
        The level is not between 0 and 1.
    """
    height = tracy_widom_quantile(level)
    return variance * (tracy_widom_centre(rows, cols) + tracy_widom_scale(rows, cols) * height)
