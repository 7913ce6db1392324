"""In which order a network learned the frequencies of its targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.instruments._held_out_scores import accuracy
from deepscope.linalg import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrequencyOrder:
    """The errors of bands of frequencies over a training, and the steps at which each was learned.

    Attributes
    ----------
    names, frequencies
        The bands, and the number by which they are ordered.
    steps
        [t] at which errors were measured.
    errors
        [t, bands], relative: 1 before anything is learned, 0 at the end.
    threshold
        Below which a band counts as learned.
    learned
        The step from which a band's error stays below the threshold to the end; between two measurements, where the
        straight line through them over the logarithm of the error passes it. None where it does not stay below.
    """

    names: tuple[str, ...]
    frequencies: tuple[float, ...]
    steps: NDArray[np.int64]
    errors: Floats
    threshold: float
    learned: tuple[float | None, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The bands that were learned, the first first."""
        known = [(step, name) for step, name in zip(self.learned, self.names, strict=True) if step is not None]
        return tuple(name for _, name in sorted(known, key=lambda each: each[0]))

    @property
    def is_ascending(self) -> bool:
        """Whether every band was learned, and each later than all of lower frequency; a random order: 1 / bands!."""
        known = [step for step in self.learned if step is not None]
        if len(known) < 2 or len(known) < len(self.learned):
            return False
        ranked = [known[place] for place in np.argsort(self.frequencies, kind="stable")]
        return all(one < following for one, following in pairwise(ranked))

    @property
    def rank_correlation(self) -> float | None:
        """Kendall's τ-b between frequency and step of learning (``kendall1938rank``).

        1: low frequencies first, −1: high ones first, 0 expected of a random order. Bands that were not learned come
        last, together. None where fewer than two differ.
        """
        from scipy.stats import kendalltau

        steps = [math.inf if step is None else step for step in self.learned]
        if len(set(steps)) < 2 or len(set(self.frequencies)) < 2:
            return None
        return float(kendalltau(self.frequencies, pd.Series(steps).rank().to_numpy()).statistic)

    def table(self) -> pd.DataFrame:
        """One row per band: name, frequency, the step at which it was learned, and its error at the end."""
        rows = zip(self.names, self.frequencies, self.learned, self.errors[-1].tolist(), strict=True)
        frame = pd.DataFrame(rows, columns=["name", "frequency", "learned", "last_error"])
        return frame.astype({"learned": float})

    def plot(self) -> Figure:
        """Draw the error of each band over the steps, the threshold, and where each was learned."""
        from deepscope.instruments._frequency_order_plot import plot_order

        return plot_order(self)

    def __str__(self) -> str:
        tau = self.rank_correlation
        said = "no order" if tau is None else f"rank correlation with frequency {tau:.2g}"
        return f"{len(self.order)} of {len(self.names)} bands learned, {said}\n{self.table().to_string(index=False)}"


@dataclass(frozen=True)
class OrderOverSeeds:
    """Several trainings' orders together.

    Attributes
    ----------
    n
        Number of trainings.
    ascending
        Share of them that learned all bands, each later than all of lower frequency; with its 95 % interval (Wilson).
    by_chance
        That share for orders drawn at random: 1 / bands!.
    rank_correlation
        Mean of Kendall's τ-b with its standard error and Student t interval; None where a training has none.
    """

    n: int
    ascending: Estimate
    by_chance: float
    rank_correlation: Estimate | None


def frequency_order(
    steps: Sequence[int] | NDArray[Any],
    errors: NDArray[Any] | Sequence[Sequence[float]],
    frequencies: Sequence[float],
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.3,
) -> FrequencyOrder:
    """Say from curves of errors in which order frequencies were learned.

    Parameters
    ----------
    steps
        [t] at which errors were measured, ascending.
    errors
        [t, bands], relative errors, as of ``FrequencyErrors.measure``.
    frequencies
        [bands], any number that is higher for higher frequencies.
    names
        Of the bands; the frequencies unless given.
    threshold
        Of the error. What is fitted of one frequency is disturbed while the next is learned, by about a tenth: below
        that a band would be finished only with the next one.

    Raises
    ------
    UsageError
        Shapes that do not fit each other, steps that do not ascend, errors that are negative or no numbers, or a
        threshold that is not between 0 and 1.

    Examples
    --------
    >>> t = np.arange(0, 100, 5)
    >>> found = frequency_order(t, np.exp(-np.outer(t, [0.5, 0.1])), [1, 3])
    >>> [round(step, 3) for step in found.learned], found.is_ascending
    ([2.408, 12.04], True)
    """
    at, values = np.asarray(steps, np.int64), np.asarray(errors, np.float64)
    if values.shape != (len(at), len(frequencies)) or not values.size:
        raise UsageError(
            f"errors are {list(values.shape)}", where="errors", todo=f"Give [{len(at)}, {len(frequencies)}]."
        )
    if names is not None and len(names) != len(frequencies):
        raise UsageError("there is not one name for each frequency", where="frequency_order")
    if np.any(np.diff(at) <= 0):
        raise UsageError("steps must ascend", where="steps")
    if not np.all(values >= 0):
        raise UsageError("errors are numbers from 0 on", where="errors")
    if not 0 < threshold < 1:
        raise UsageError(f"the threshold is {threshold}", where="threshold", todo="Give one between 0 and 1.")
    return FrequencyOrder(
        names=tuple(names) if names is not None else tuple(f"{each:.4g}" for each in frequencies),
        frequencies=tuple(float(each) for each in frequencies),
        steps=at,
        errors=values,
        threshold=threshold,
        learned=tuple(_learned(at, curve, threshold) for curve in values.T),
    )


def order_over_seeds(orders: Sequence[FrequencyOrder]) -> OrderOverSeeds:
    """Take the orders of several trainings together.

    Raises
    ------
    UsageError
        None is given, or their bands differ in number.

    Examples
    --------
    >>> t = np.arange(50)
    >>> each = frequency_order(t, np.exp(-np.outer(t, [0.5, 0.1])), [1, 3])
    >>> round(order_over_seeds([each] * 20).ascending.low, 3)
    0.839
    """
    counts = {len(each.frequencies) for each in orders}
    if len(counts) != 1:
        raise UsageError("orders are of no trainings, or of different bands", where="orders")
    n = len(orders)
    share, low, high = accuracy(np.array([each.is_ascending for each in orders]))
    ascending = Estimate(value=share, stderr=math.sqrt(share * (1 - share) / n), low=low, high=high)
    taus = [each.rank_correlation for each in orders]
    correlation = None
    if n > 1 and None not in taus:
        from scipy.special import stdtrit

        values = np.array(taus, dtype=float)
        error = float(values.std(ddof=1) / math.sqrt(n))
        reach = float(stdtrit(n - 1, 0.975)) * error
        mean = float(values.mean())
        correlation = Estimate(value=mean, stderr=error, low=max(-1.0, mean - reach), high=min(1.0, mean + reach))
    return OrderOverSeeds(n, ascending, 1 / math.factorial(counts.pop()), correlation)


def _learned(steps: NDArray[np.int64], curve: Floats, threshold: float) -> float | None:
    above = np.flatnonzero(curve >= threshold)
    if not len(above):
        return float(steps[0])
    last = int(above[-1])
    if last == len(curve) - 1:
        return None
    before, after = curve[last], max(curve[last + 1], np.finfo(float).tiny)
    way = math.log(before / threshold) / math.log(before / after)
    return float(steps[last] + way * (steps[last + 1] - steps[last]))
