"""Sums of three sines on a ring of points, the error of each of them, and the steps after which it stays small."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError, nearest

Floats = NDArray[np.float64]

#: A mode is fitted once its relative error stays below this …
TOLERANCE = 0.3
#: … in the running median over so many steps, an odd number.
WINDOW = 101
TARGETS = ("1, 3, 5", "random")
#: What the three frequencies of a target are called in a table, ascending.
MODES = ("low", "middle", "high")


@dataclass(frozen=True, eq=False)
class SumOfSines:
    """f(x) = Σ sin(kx + φ) with three frequencies k of equal amplitude.

    Attributes
    ----------
    frequencies
        [3] whole numbers k, ascending: periods that fit into 2π.
    phases
        [3] φ in radians.
    """

    frequencies: tuple[int, ...]
    phases: tuple[float, ...]

    def __post_init__(self) -> None:
        if tuple(sorted(set(self.frequencies))) != self.frequencies or self.frequencies[0] < 1:
            raise UsageError(f"the frequencies are {self.frequencies}", where="SumOfSines", todo="Give 1 ≤ k₁ < k₂ …")

    @classmethod
    def drawn(cls, target: str, rng: np.random.Generator) -> SumOfSines:
        """Return sin x + sin 3x + sin 5x, or draw one k of {1, 2}, {3, 4}, {5, 6} each and uniform phases.

        Raises
        ------
        UsageError
            ``target`` is neither ``"1, 3, 5"`` nor ``"random"``.
        """
        if target == "random":
            frequencies = tuple(int(rng.integers(low, low + 2)) for low in (1, 3, 5))
            return cls(frequencies, tuple(rng.uniform(0, 2 * math.pi, 3).tolist()))
        if target not in TARGETS:
            raise UsageError("unknown target", where=target, todo=nearest(target, TARGETS))
        return cls((1, 3, 5), (0.0, 0.0, 0.0))

    def __call__(self, x: Floats) -> Floats:
        """Return f at [n] points."""
        angles = np.multiply.outer(np.array(self.frequencies), x) + np.array(self.phases)[:, None]
        values: Floats = np.sum(np.sin(angles), axis=0)
        return values


def ring(points: int) -> Floats:
    """Return n even points from −π to just before π, on which modes of different k below n/2 are orthogonal.

    Raises
    ------
    UsageError
        Fewer than 16 points, on which frequencies up to 6 cannot be told apart.
    """
    if points < 16:
        raise UsageError(f"{points} points", where="points", todo="Give at least 16.")
    return -math.pi + 2 * math.pi * np.arange(points) / points


def relative_errors(values: Floats, target: Floats, frequencies: tuple[int, ...]) -> Floats:
    """Return |ĥ(k) − f̂(k)| / |f̂(k)| at each frequency, of values h and target f on the ring, [n]: [len(frequencies)].

    An output of 0 has the error 1 at each.
    """
    chosen = list(frequencies)
    wanted = np.fft.rfft(target)[chosen]
    return np.abs(np.fft.rfft(values)[chosen] - wanted) / np.abs(wanted)


def fitted_steps(errors: Floats) -> list[int | None]:
    """Return for each column the first step from which the error stays below the tolerance to the end.

    Errors are [steps, modes], one row per step from 0; each column is replaced by its running median over ``WINDOW``
    steps, so that neither a passage by chance (an oscillating output crosses its target) nor a short throw-back by the
    optimiser counts. None where the median has not stayed below for the last ``WINDOW`` steps. The running median of a
    falling error is that error.
    """
    from scipy.ndimage import median_filter

    medians = median_filter(np.asarray(errors, dtype=float), size=(WINDOW, 1), mode="nearest")
    return [_last_passage(column < TOLERANCE) for column in medians.T]


def _last_passage(below: NDArray[np.bool_]) -> int | None:
    above = np.flatnonzero(~below)
    first = int(above[-1]) + 1 if len(above) else 0
    return first if len(below) - first >= WINDOW else None


def until_fitted(errors: Iterable[Floats], limit: int) -> Floats:
    """Return the errors of steps 0, 1 … until all modes are fitted, or of ``limit`` steps."""
    found: list[Floats] = []
    for each in itertools.islice(errors, limit + 1):
        found.append(each)
        # The end decides; twice the window holds it.
        if len(found) % WINDOW == 0 and None not in fitted_steps(np.array(found[-2 * WINDOW :])):
            break
    return np.array(found)
