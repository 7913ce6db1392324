"""Where labels beside curves stand, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def apart(heights: Sequence[float], gap: float, lowest: float) -> list[float]:
    """Return heights near those wanted, in the same order from low to high, at least ``gap`` apart, from a lowest on.

    >>> apart([0.5, 0.1, 0.12], 0.1, 0.0)
    [0.5, 0.1, 0.2]
    """
    placed = [0.0] * len(heights)
    least = lowest
    for place in np.argsort(heights, kind="stable"):
        placed[place] = max(float(heights[place]), least)
        least = placed[place] + gap
    return [round(height, 12) for height in placed]
