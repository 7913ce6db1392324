"""Low and high frequencies of a function that is known at scattered points, told apart by a Gaussian filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GaussianFilter:
    """Replaces the value at each point by a mean over all, near ones weighing more.

    y_low = S y with S_ij = G_ij / Σ_k G_ik, G_ij = exp(−|x_i − x_j|² / (2δ²)), and y_high = y − y_low: the two parts of
    the filtering method (``xu2020frequency``). A wave of frequency f cycles per unit of distance keeps
    exp(−2π²δ²f²) of its amplitude in the low part, where points lie densely all around: δ divides frequencies at some
    0.19/δ, of which half is kept.

    Attributes
    ----------
    weights
        S, [n, n]: rows of sum 1.
    width
        δ, in units of distance; ``inf`` gives the mean of all, 0 each point (with those that coincide with it) itself.
    """

    weights: Floats
    width: float

    @property
    def neighbours(self) -> float:
        """Over how many points the filter averages: the mean of 1 / Σ_j S_ij², 1 … n."""
        return float(np.mean(1 / np.sum(self.weights**2, axis=1)))

    @property
    def white_share(self) -> float:
        """Expected ‖S y‖² / ‖y‖² of n values, less their mean, in random order: (tr SᵀS − 1) / (n − 1).

        What a function without any frequency of its own leaves in the low part; 0 for a single point.
        """
        n = len(self.weights)
        return float((np.sum(self.weights**2) - 1) / (n - 1)) if n > 1 else 0.0

    def low(self, values: NDArray[Any]) -> Floats:
        """Return the low part of values [n] or [n, k]."""
        return np.asarray(self.weights @ values, np.float64)

    def high(self, values: NDArray[Any]) -> Floats:
        """Return the high part of values [n] or [n, k]."""
        return np.asarray(values - self.low(values), np.float64)


def gaussian_filter(squared_distances: NDArray[Any], width: float) -> GaussianFilter:
    """Build the filter of width δ.

    Parameters
    ----------
    squared_distances
        Between n points, [n, n].
    width
        δ, from 0 to ``inf``.

    Raises
    ------
    UsageError
        The distances are no square matrix of numbers from 0 on, or the width is negative or NaN.

    Notes
    -----
    Cost: n² exponentials. Nothing changes where distances and width are multiplied by one number.

    Examples
    --------
    >>> apart = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> [gaussian_filter(apart, width).low(np.array([0.0, 1.0])).round(3).tolist() for width in (0.0, 1.0, np.inf)]
    [[0.0, 1.0], [0.378, 0.622], [0.5, 0.5]]
    """
    squared = _checked(squared_distances)
    if not width >= 0:
        raise UsageError(f"the filter's width is {width}", where="width", todo="Give 0 or more.")
    if width == 0:
        weights = (squared == 0).astype(np.float64)
    elif math.isinf(width):
        weights = np.ones_like(squared)
    else:
        weights = np.exp(-squared / (2 * width**2))
    return GaussianFilter(weights / weights.sum(axis=1, keepdims=True), float(width))


def filter_widths(squared_distances: NDArray[Any], count: int = 5) -> tuple[float, ...]:
    """Return widths that lead from a point's nearest neighbours to all points, ascending.

    Evenly over the logarithm from half the median distance to the nearest other point, within which a filter sees
    little but the point itself, to half the median distance between two points, beyond which it sees all alike.
    Empty where all points coincide.

    Raises
    ------
    UsageError
        The distances are no square matrix, or ``count`` is below 1.

    Examples
    --------
    >>> line = np.arange(9.0)
    >>> [round(width, 3) for width in filter_widths(np.subtract.outer(line, line) ** 2, 3)]
    [0.5, 0.866, 1.5]
    """
    distances = np.sqrt(_checked(squared_distances))
    if count < 1:
        raise UsageError(f"{count} widths are asked for", where="count", todo="Give 1 or more.")
    # A point that coincides with another has its nearest neighbour further away.
    nearest = np.where(distances > 0, distances, np.inf).min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        return ()
    apart = distances[np.triu_indices(len(distances), 1)]
    low, high = float(np.median(nearest)) / 2, float(np.median(apart[apart > 0])) / 2
    if count == 1 or not high > low:
        return (low,)
    return tuple(float(width) for width in np.geomspace(low, high, count))


def squared_distances(points: Sequence[NDArray[Any]] | NDArray[Any]) -> Floats:
    """Return the squared Euclidean distances between n points, [n, n].

    Parameters
    ----------
    points
        [n, ...], or several such blocks of features, over which distances add up; any number type.

    Notes
    -----
    Cost: n² multiplications per feature, in float64; features in blocks, so that memory is [n, n] and [n, 4096].

    Examples
    --------
    >>> squared_distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[0.0, 25.0], [25.0, 0.0]]
    """
    blocks = [points] if isinstance(points, np.ndarray) else list(points)
    n = len(blocks[0])
    products = np.zeros((n, n))
    for block in blocks:
        flat = block.reshape(n, -1)
        for start in range(0, flat.shape[1], _FEATURES):
            part = flat[:, start : start + _FEATURES].astype(np.float64)
            # About their mean, products lose the least to rounding.
            part -= part.mean(axis=0)
            products += part @ part.T
    norms = np.diag(products)
    squared = norms[:, None] + norms[None, :] - 2 * products
    # Where points coincide, rounding leaves some 1e-16 of their norms.
    squared[squared <= _ROUNDING * (norms[:, None] + norms[None, :])] = 0.0
    return np.asarray((squared + squared.T) / 2, np.float64)


_FEATURES = 4096
_ROUNDING = 1e-13


def _checked(squared: NDArray[Any]) -> Floats:
    matrix = np.asarray(squared, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise UsageError("squared distances are a matrix [n, n]", where=f"shape {matrix.shape}")
    if not bool(np.all(matrix >= 0)):
        raise UsageError("squared distances are numbers from 0 on", where="squared_distances")
    return matrix
