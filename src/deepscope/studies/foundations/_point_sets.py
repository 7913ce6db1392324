"""Sets of points with integer coordinates: separable ones of a given margin, orthogonal ones, inseparable ones.

A point is a sample times its label, as in ``_separation``.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from deepscope.studies.foundations._separation import Floats, is_separable

#: Real coordinates are multiplied by this and rounded. Products of weights and points then stay below 2⁵³ in a million
#: updates: |w·z| ≤ √updates R², and R² is below 1e11.
SCALE = 2**16
#: Coordinates of inseparable points. A program over such points has vertices that are ratios of integers below 1e5, so
#: that a margin that is not 0 is above 1e-5.
LARGEST = 3


def separable_set(rng: np.random.Generator, features: int, count: int, margin: float) -> Floats:
    """Draw a set that is separable, but hardly so where the margin is small.

    Gaussian points are moved across the hyperplane uᵀz = 0 to its positive side and by the margin m away from it. Two
    more points, a v + m u and −b v + m u with v orthogonal to u, have m u between them: no hyperplane has a margin
    above m.

    Parameters
    ----------
    rng
        Where they are drawn from.
    features
        d, at least 2.
    count
        Number of points, at least 3.
    margin
        m, in the same units as the points, whose norm is about 1. Rounding to integers moves it by up to √d / 2**17.

    Returns
    -------
    numpy.ndarray
        [count, d], integers.
    """
    normal, across = np.linalg.qr(rng.standard_normal((features, 2)))[0].T
    points = rng.standard_normal((count - 2, features)) / np.sqrt(features)
    heights = points @ normal
    points += np.outer(np.abs(heights) - heights + margin, normal)
    pair = np.outer(rng.uniform(0.3, 1.0, 2) * [1, -1], across) + margin * normal
    found: Floats = np.rint(SCALE * rng.permutation(np.vstack([points, pair])))
    return found


def orthogonal_set(rng: np.random.Generator, count: int) -> Floats:
    """Draw n orthogonal points with coordinates ±1, n a power of 2, and n times the point γu behind them.

    R² = n and γ = 1, so that (R/γ)² = n. Each of the first n points costs one update, and then all points are right.
    The mean of the orthogonal points is γu, whose coordinates are 0 but for one, ±1. It changes neither R nor γ;
    without it all norms would be equal, and a norm that is not the largest could pass for R.

    Returns
    -------
    numpy.ndarray
        [2 n, n], integers.
    """
    signs = rng.choice([-1.0, 1.0], count)
    orthogonal = rng.permutation(hadamard(count).astype(float)) * signs
    return np.vstack([orthogonal, np.tile(orthogonal.mean(axis=0), (count, 1))])


def inseparable_set(rng: np.random.Generator) -> Floats:
    """Draw samples of 1 to 4 small integers with labels by chance, until a linear program finds no hyperplane for them.

    Returns
    -------
    numpy.ndarray
        [n, d + 1]: the label times (x, 1).
    """
    while True:
        features = int(rng.integers(1, 5))
        count = int(rng.integers(features + 3, 4 * features + 6))
        samples = rng.integers(-LARGEST, LARGEST + 1, (count, features))
        labels = rng.choice([-1.0, 1.0], (count, 1))
        points = labels * np.column_stack([samples, np.ones(count)])
        if not is_separable(points):
            return points
