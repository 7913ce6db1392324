"""A spike in noise: where its eigenvalue comes to lie, and how far its singular vectors are turned.

W = θ·u·vᵀ + noise, rows × cols, with unit vectors u and v and independent noise of mean 0 and a given variance σ².
Above the threshold θ⁴ = σ⁴·rows·cols one eigenvalue of WᵀW leaves the bulk; below, none does (Baik, Ben Arous and
Péché's transition, ``baik2005phase``; for singular values ``benaychgeorges2012singular``). All is said of the limit of
large matrices with a fixed ratio of the sides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from deepscope.linalg._marchenko_pastur import mp_edges


def bbp_threshold(rows: int, cols: int, variance: float) -> float:
    """Return the singular value θ above which a spike leaves the bulk: σ·(rows·cols)^{1/4}.

    >>> bbp_threshold(4, 4, 9.0)
    6.0
    """
    return math.sqrt(variance * math.sqrt(rows * cols))


def bbp_eigenvalue(theta: float, rows: int, cols: int, variance: float) -> float:
    """Return the largest eigenvalue of WᵀW that a spike of singular value θ makes.

    (θ² + σ²·rows)·(θ² + σ²·cols)/θ² above the threshold, the bulk's upper edge below. Source:
    ``benaychgeorges2012singular``.

    >>> bbp_eigenvalue(10.0, 40, 10, 1.0)
    154.0
    """
    if theta <= bbp_threshold(rows, cols, variance):
        return mp_edges(rows, cols, variance)[1]
    return (theta**2 + variance * rows) * (theta**2 + variance * cols) / theta**2


def spike_strength(eigenvalue: float, rows: int, cols: int, variance: float) -> float | None:
    """Return the singular value θ of the spike that an eigenvalue of WᵀW shows; the inverse of ``bbp_eigenvalue``.

    None for an eigenvalue within the bulk, which shows no spike.

    >>> spike_strength(154.0, 40, 10, 1.0)
    10.0
    """
    if eigenvalue <= mp_edges(rows, cols, variance)[1]:
        return None
    return math.sqrt(float(squared_strength(eigenvalue, rows, cols, variance)))


def squared_strength(eigenvalue: Any, rows: float, cols: float, variance: float) -> Any:
    """Return θ², for any shape of eigenvalues; that of the threshold within the bulk."""
    # The larger root of θ⁴ − (λ − σ²(rows + cols))·θ² + σ⁴·rows·cols = 0.
    half = (eigenvalue - variance * (rows + cols)) / 2
    edge = variance * math.sqrt(rows * cols)
    half = np.maximum(half, edge)
    return half + np.sqrt((half - edge) * (half + edge))


def spike_overlap(theta: float, rows: int, cols: int, variance: float) -> tuple[float, float]:
    """Return the squared cosines between a spike's planted singular vectors and the measured ones, left then right.

    1 − σ²·rows·(θ² + σ²·cols)/(θ²·(θ² + σ²·rows)) for the left vector, of length rows; rows and cols change places for
    the right one; 0 below the threshold. Source: ``benaychgeorges2012singular``.

    >>> spike_overlap(2.0, 1, 4, 1.0)
    (0.6, 0.375)
    """
    if theta <= bbp_threshold(rows, cols, variance):
        return 0.0, 0.0
    strength, tall, wide = theta**2, variance * rows, variance * cols
    left = 1 - tall * (strength + wide) / (strength * (strength + tall))
    right = 1 - wide * (strength + tall) / (strength * (strength + wide))
    return left, right
