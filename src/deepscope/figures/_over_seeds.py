"""What a picture shows of values that differ by seed: their mean and its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscope.core import FEWEST_SEEDS
from deepscope.core import interval as interval_of_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def over_seeds(values: ArrayLike, *, log: bool = False) -> NDArray[np.float64]:
    """Return the mean over seeds and the ends of its 95 % interval, as ``interval`` draws them.

    Parameters
    ----------
    values
        One per seed, [seeds], or a curve per seed, [seeds, points].
    log
        Take the geometric mean, with the interval of the mean logarithm.

    Returns
    -------
    Array
        Mean, low and high, [3] or [3, points]. Without seeds all are NaN, with fewer than 3 the ends are.

    Examples
    --------
    >>> over_seeds([1.0, 2.0, 3.0]).round(2).tolist()
    [2.0, -0.48, 4.48]
    >>> over_seeds([[1.0, 10.0], [100.0, 10.0]], log=True).round(2).tolist()
    [[10.0, 10.0], [nan, nan], [nan, nan]]
    """
    rows = np.asarray(values, dtype=np.float64)
    points = rows.shape[1:]
    if not len(rows):
        return np.full((3, *points), math.nan)
    columns = (np.log(rows) if log else rows).reshape(len(rows), -1).T
    ends = [interval_of_mean(each) if len(rows) >= FEWEST_SEEDS else (math.nan, math.nan) for each in columns]
    found = np.vstack([columns.mean(axis=1), np.transpose(ends)]).reshape(3, *points)
    return np.exp(found) if log else found
