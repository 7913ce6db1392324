"""How many parts, loops and voids a cloud of points has, told from those of noise."""

from __future__ import annotations

import math

import numpy as np

from deepscope.linalg._persistence import Persistence

#: What holds a smaller share of the points than this is an outlier, no part.
_SHARE = 0.05
#: The quantile of the shorter edges that says how far the points of a part are from one another.
_TYPICAL = 0.9
#: By how much a gap must be wider than what is inside the parts, and a loop or void larger when it closes than when it
#: opened. Of 16 to 256 uniform points no more than one cloud in twenty passes any of them, whatever their dimension:
#: the worst are segments, discs and balls (tests/linalg/test_betti_numbers.py).
_BEYOND_NOISE = (3.0, 2.5, 1.5)


def betti_numbers(found: Persistence) -> tuple[int, ...]:
    """Count the parts, loops and voids of a cloud of points that are more than noise.

    By their ratio of death to birth: the law of that ratio among the bars of noise hardly depends on how the points are
    distributed (``bobrowski2023universal``), so that one threshold serves all clouds, whatever their scale. A loop
    counts where the ratio is above 2.5, a void above 1.5. Parts are all born at scale 0. Theirs is the ratio of the
    scale at which two parts join, each of 5 % of the points or more, to the next smaller of these scales, or to the
    90 % quantile of all shorter joins (how far apart points of one part are), if that is larger: the largest such ratio
    tells the scale at which parts are counted, and there is one part where it is not above 3.

    Parameters
    ----------
    found
        What ``persistence`` returned.

    Returns
    -------
    tuple of int
        One number for each of its dimensions: (1, 1) for a circle, (1, 2, 1) for a torus, (k, 0) for k clusters.

    Notes
    -----
    A loop is seen only where neighbouring points are closer than 0.4 of its width: give some 64 points per loop, chosen
    by ``farthest_points``. What holds less than a twentieth of the points is not seen as a part, and what is nested in
    scales is counted at one of them.
    Cost: next to nothing.

    Examples
    --------
    >>> from deepscope.linalg import persistence
    >>> angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    >>> circle = np.column_stack([np.cos(angles), np.sin(angles)])
    >>> betti_numbers(persistence(circle)), betti_numbers(persistence(np.concatenate([circle, circle + 5])))
    ((1, 1), (2, 2))
    """
    return (_parts(found), *(_holes(found, dimension) for dimension in range(1, len(found.bars))))


def _parts(found: Persistence) -> int:
    scales = found.bars[0][:, 1]
    joins = np.flatnonzero((found.smaller >= max(2, math.ceil(_SHARE * found.n))) & (scales > 0))
    count, largest, before = 1, _BEYOND_NOISE[0], 0.0
    for index, join in enumerate(joins):
        inside = max(before, float(np.quantile(scales[:join], _TYPICAL)))
        before = float(scales[join])
        if before > largest * inside:
            count = len(joins) - index + 1
            largest = before / inside if inside > 0 else math.inf
    return count


def _holes(found: Persistence, dimension: int) -> int:
    births, deaths = found.bars[dimension].T
    return int((deaths > _BEYOND_NOISE[dimension] * births).sum())
