"""What is read off a slice of the loss: how sharply its logarithm bends, and on how many lines it rises and falls."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Share by which a loss must rise above both sides to count as a bump.
BUMP = 0.01


def roughness(losses: ArrayLike) -> float | None:
    """Return the mean squared second difference of the log loss along both axes of the grid.

    None where a loss is not finite or not positive.

    >>> roughness(np.exp([[1.0, 0.0, 1.0]] * 3))
    2.0
    """
    heights = _logarithms(losses)
    if heights is None:
        return None
    bends = [np.diff(heights, 2, axis=axis).ravel() for axis in (0, 1)]
    return float(np.square(np.concatenate(bends)).mean())


def bumpy_lines(losses: ArrayLike) -> float | None:
    """Return the share of the grid's lines, along both axes, on which the loss has a bump.

    A bump is a point where it is more than 1 % above some point on either side. A function whose sublevel sets are
    convex, so any increasing function of a convex one, has none, however steep it is; of independent noise nearly all
    lines have one. None where a loss is not finite or not positive.

    >>> bumpy_lines([[3.0, 1.0, 2.0], [2.0, 0.5, 1.0], [3.0, 4.0, 2.0]])
    0.16666666666666666
    """
    heights = _logarithms(losses)
    if heights is None:
        return None
    lines = [*heights, *heights.T]
    return float(np.mean([_highest_bump(line) > np.log1p(BUMP) for line in lines]))


def _highest_bump(line: NDArray[np.float64]) -> float:
    """Return the largest rise of a curve above the higher of its lowest points on either side."""
    before = np.minimum.accumulate(line)
    after = np.minimum.accumulate(line[::-1])[::-1]
    return float((line - np.maximum(before, after)).max())


def _logarithms(losses: ArrayLike) -> NDArray[np.float64] | None:
    grid = np.asarray(losses, dtype=float)
    return np.log(grid) if np.isfinite(grid).all() and (grid > 0).all() else None
