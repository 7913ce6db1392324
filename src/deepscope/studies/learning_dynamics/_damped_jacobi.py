"""Damped Jacobi iteration for −u″ = g on a ring of points."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The classical damping for second differences: it shrinks the upper half of the frequencies by a factor 3 or more.
DAMPING = 2 / 3


def iterates(solution: Floats) -> Iterator[Floats]:
    """Yield u₀ = 0, u₁, u₂ … of u ← (1 − ω) u + ω (u₋ + u₊ + h² g) / 2, u₋ and u₊ being the neighbours.

    Parameters
    ----------
    solution
        [n] the solution sought, of mean 0: h² g = 2u − u₋ − u₊ is computed from it, so that it solves the discrete
        equation exactly. On a ring the mean of u is free; it stays 0.
    """
    right = 2 * solution - _neighbours(solution)
    u = np.zeros_like(solution)
    while True:
        yield u
        u = (1 - DAMPING) * u + DAMPING / 2 * (_neighbours(u) + right)


def rates(points: int) -> Floats:
    """Return the factor 1 − ω (1 − cos(2πk/n)) by which a step multiplies the error at each k = 0 … n/2.

    For odd solutions the ring of n points is the interval with zero ends and N = n/2 − 1 points between them, and this
    is the textbook's 1 − ω (1 − cos(kπ/(N + 1))). The factor falls with k down to 0 at k = n/3, which is far above the
    frequencies of this study.

    >>> rates(6).round(12).tolist()
    [1.0, 0.666666666667, 0.0, -0.333333333333]
    """
    k = np.arange(points // 2 + 1)
    found: Floats = 1 - DAMPING * (1 - np.cos(2 * np.pi * k / points))
    return found


def _neighbours(u: Floats) -> Floats:
    return np.roll(u, 1) + np.roll(u, -1)
