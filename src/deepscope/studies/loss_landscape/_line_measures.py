"""What is read off losses along a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscope.core import Value, per_seed

if TYPE_CHECKING:
    import pandas as pd


def rise(losses: ArrayLike) -> float:
    """Return the largest rise of a curve above its lowest point so far, as a share of its first value.

    0 where it never rises.

    >>> rise([2.0, 1.0, 1.5, 0.5, 0.75])
    0.25
    """
    curve = np.asarray(losses, dtype=float)
    return float((curve - np.minimum.accumulate(curve)).max() / curve[0])


def barrier(losses: ArrayLike) -> float:
    """Return how far a curve rises above the chord between its ends; 0 where it never does.

    Along a line, a convex function has none.

    >>> barrier([0.0, 3.0, 1.0]), barrier([2.0, 0.5, 0.0])
    (2.5, 0.0)
    """
    curve = np.asarray(losses, dtype=float)
    return float((curve - np.linspace(curve[0], curve[-1], len(curve))).max())


def mean_loss(losses: ArrayLike) -> float:
    """Return the mean of a curve over its line, by the trapezoidal rule.

    >>> mean_loss([2.0, 1.0, 0.0])
    1.0
    """
    curve = np.asarray(losses, dtype=float)
    return float((curve[:-1] + curve[1:]).mean() / 2)


def first(losses: ArrayLike) -> float:
    """Return the loss where the line starts."""
    return float(np.asarray(losses)[0])


def last(losses: ArrayLike) -> float:
    """Return the loss where the line ends."""
    return float(np.asarray(losses)[-1])


def measured(
    trials: pd.DataFrame, start: str, measure: Callable[[NDArray[np.float64]], float], case: dict[str, Value]
) -> pd.Series[Any]:
    """Return, by seed, a measure of the lines from a start, its mean where there are several; none where no line is."""
    lines = per_seed(trials, start, **case)
    found = lines.map(lambda each: np.mean([measure(line) for line in np.atleast_2d(each)]), na_action="ignore")
    return found.astype(float)
