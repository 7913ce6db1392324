"""Vertices of cells with the values of a layer at them, and those that cutting adds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepscope.core import MeasurementError
from deepscope.instruments._regions_cells import Floats, Integers

#: Values at vertices are interpolations, and sums of hundreds of terms, of relative error 2⁻⁵² each: a unit is 0 where
#: it is below this share of its largest value,
_OF_UNIT = 2.0**-42
#: and below this share of the layer's: what has no value but rounding cuts nothing.
_OF_LAYER = 2.0**-46


@dataclass(frozen=True, eq=False)
class Growth:
    """New vertices, each on an edge between two that were there before it.

    Attributes
    ----------
    before
        How many vertices there were.
    rounds
        Of each round the two ends and the share of the second: a vertex is (1 − share)·first + share·second.
    """

    before: int
    rounds: list[tuple[Integers, Integers, Floats]] = field(default_factory=list)

    @property
    def after(self) -> int:
        """How many vertices there are."""
        return self.before + sum(len(first) for first, _, _ in self.rounds)


def rounding_of(low: Floats, high: Floats) -> Floats:
    """Return below what a unit's value is rounding, from the ends of its range; those of all units of a layer."""
    largest = np.maximum(-low, high)
    found: Floats = np.maximum(_OF_UNIT * largest, _OF_LAYER * largest.max(initial=0.0))
    return found


class Vertices:
    """Vertices with their values, to which others are added on edges.

    Parameters
    ----------
    points
        [v, d], coordinates.
    values
        [v, columns].
    tolerance
        [columns], below what a value is rounding.
    """

    def __init__(self, points: Floats, values: Floats, tolerance: Floats) -> None:
        self._points, self._values, self._tolerance, self.count = points, values, tolerance, len(points)
        self._keys, self._known = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        # Two vertices and two columns make a key of 63 bits.
        self._room = math.isqrt(2**63 // max(values.shape[1], 1) ** 2) - 1
        self.growth = Growth(len(points))

    @property
    def points(self) -> Floats:
        return self._points[: self.count]

    def heights(self, corners: Integers, first: Integers, second: Integers) -> Floats:
        """Return differences of two columns at vertices, 0 where they are rounding."""
        heights = self._values[corners, first] - self._values[corners, second]
        tolerance = np.maximum(self._tolerance[first], self._tolerance[second])
        heights[np.abs(heights) <= tolerance] = 0
        return heights

    def near_largest(self, corners: Integers, candidates: Integers) -> NDArray[np.bool_]:
        """Whether each of the candidates, […, m], is the largest of them at its vertex; corners match all but m."""
        values = self._values[corners[..., None], candidates]
        found: NDArray[np.bool_] = values >= values.max(axis=-1, keepdims=True) - self._tolerance[candidates]
        return found

    def signs(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Where the columns are above and below 0: bits, [v, ⌈columns / 8⌉]."""
        values = self._values[: self.count]
        return np.packbits(values > self._tolerance, axis=1), np.packbits(values < -self._tolerance, axis=1)

    def between(
        self, a: Integers, b: Integers, of_a: Floats, of_b: Floats, first: Integers, second: Integers
    ) -> Integers:
        """Return the vertices on edges a–b where a height, of opposite signs at their ends, is 0; each is made once."""
        if self.count > self._room:
            raise MeasurementError("a layer has too many units for its regions to be counted")
        swap, columns = a > b, self._values.shape[1]
        low, high = np.where(swap, b, a), np.where(swap, a, b)
        key = low * self._room + high
        key = (key * columns + np.minimum(first, second)) * columns + np.maximum(first, second)
        keys, one, group = np.unique(key, return_index=True, return_inverse=True)
        place = np.searchsorted(self._keys, keys)
        known = place < len(self._keys)
        known[known] = self._keys[place[known]] == keys[known]
        numbers = np.empty(len(keys), dtype=np.int64)
        numbers[known] = self._known[place[known]]
        numbers[~known] = self.count + np.arange((~known).sum())
        which = one[~known]
        share = np.where(swap, of_b, of_a)[which] / np.where(swap, of_b - of_a, of_a - of_b)[which]
        self._append(low[which], high[which], share)
        order = np.argsort(np.concatenate([self._keys, keys[~known]]), kind="stable")
        self._keys = np.concatenate([self._keys, keys[~known]])[order]
        self._known = np.concatenate([self._known, numbers[~known]])[order]
        found: Integers = numbers[group.reshape(-1)]
        return found

    def _append(self, a: Integers, b: Integers, share: Floats) -> None:
        after = self.count + len(a)
        if after > len(self._values):
            self._values, self._points = (_longer(each, after) for each in (self._values, self._points))
        for values in (self._values, self._points):
            values[self.count : after] = (1 - share[:, None]) * values[a] + share[:, None] * values[b]
        self.growth.rounds.append((a, b, share))
        self.count = after


def _longer(values: Floats, least: int) -> Floats:
    """Return values with rows behind them, at least so many in all; what is not written yet takes no memory."""
    found = np.empty((max(least, 2 * len(values)), values.shape[1]))
    found[: len(values)] = values
    return found
