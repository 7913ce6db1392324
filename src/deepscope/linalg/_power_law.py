"""The power-law tail of positive values: exponent, start of the tail, distance of the fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError

Floats = NDArray[np.float64]

#: Fewer values get no exponent: even with all of them in the tail its standard error would exceed (α − 1) / √8,
#: a third of α − 1. WeightWatcher's default is the same.
MIN_VALUES = 8

#: Values that agree to a tenth of a percent have no tail; a fit to their rounding would report α in the thousands.
MIN_SPREAD = 1e-3

# Rounding of a distance: the exponent (α − 1)·ln(x_j/x_i) is good to about n·eps. A bound within this slack of the
# best distance is evaluated in full, so that pruning can never change which tail wins.
SLACK = 1e-9

# Entries of one block of the table of bounds (16 MB).
_BLOCK = 2_000_000


@dataclass(frozen=True)
class PowerLawFit:
    """A power law p(x) ∝ x^−α fitted to the values from ``x_min`` up.

    Attributes
    ----------
    status
        ``"ok"``, or why there is no fit; all numbers but ``n_values`` are then None.
    n_values
        How many values there were.
    alpha
        The exponent.
    stderr
        Its standard error (α − 1) / √n_tail, for a tail that starts where it was found to start.
    x_min
        The smallest value of the tail.
    ks_distance
        The largest distance between the tail's empirical and fitted distribution functions.
    n_tail
        How many values the tail holds.
    """

    status: str
    n_values: int
    alpha: float | None = None
    stderr: float | None = None
    x_min: float | None = None
    ks_distance: float | None = None
    n_tail: int | None = None


def fit_power_law(x: NDArray[Any] | Tensor) -> PowerLawFit:
    """Fit a power law to the tail of positive values, its start chosen by the Kolmogorov–Smirnov distance.

    With x ascending, n values, m = n − i and i from 0 to n − 2,

        α_i = 1 + m / Σ_{j≥i} ln(x_j / x_i)
        D_i = max_{j≥i} |1 − (x_j / x_i)^(1 − α_i) − (j − i) / m|

    and the first smallest D_i wins. No α_i is 1 or less, since every logarithm is ≥ 0; a tail of equal values has no
    exponent and is passed over. Multiplying x by a constant changes nothing but ``x_min``.

    Parameters
    ----------
    x
        Values, any order, any scale, any shape; flattened.

    Returns
    -------
    PowerLawFit
        A fit, or a status that says why there is none: fewer than 8 values, values that are not finite, not positive
        or equal to within 0.1 %.

    Notes
    -----
    The scan is exact: every D_i is bounded from below by its value at a few positions j, and only tails whose bound
    does not exceed the best distance found are evaluated in full. Cost: sorting, and O(n) in nearly all cases
    (O(n²) at worst). Source: ``clauset2009power``, in the form of Martin & Mahoney's WeightWatcher.

    Examples
    --------
    >>> values = (np.arange(1, 1001) / 1001) ** -0.5
    >>> fit = fit_power_law(values)
    >>> fit.status, round(fit.alpha, 1)
    ('ok', 3.0)
    """
    values = as_sorted(x)
    n = values.size
    status = fit_status(values)
    if status != "ok":
        return PowerLawFit(status, n)
    heights, slopes = heights_and_slopes(values)
    best, distance = _scan(heights, slopes)
    alpha, m = 1 + float(slopes[best]), n - best
    return PowerLawFit("ok", n, alpha, (alpha - 1) / math.sqrt(m), float(values[best]), distance, m)


def as_sorted(x: NDArray[Any] | Tensor) -> Floats:
    """Return all values in ascending order, in float64."""
    return np.sort(np.asarray(x.detach().cpu().double() if isinstance(x, Tensor) else x, dtype=np.float64).ravel())


def split_at_tail(x: NDArray[Any] | Tensor, fit: PowerLawFit) -> tuple[Floats, Floats]:
    """Return the values below the tail of their fit and those in it, ascending."""
    values = as_sorted(x)
    if fit.n_tail is None or fit.x_min is None:
        raise UsageError("there is no fit of these values", where=fit.status, todo="Use only fits whose status is ok.")
    if fit.n_values != values.size or values[-fit.n_tail] != fit.x_min:
        raise UsageError("the fit is not one of these values", todo="Pass the values that fit_power_law was given.")
    return values[: -fit.n_tail], values[-fit.n_tail :]


def fit_status(values: Floats) -> str:
    """Return "ok" if sorted values can be fitted, or the reason why not."""
    if values.size < MIN_VALUES:
        return f"too few values for a fit ({values.size}, at least {MIN_VALUES} are needed)"
    # Sorting puts NaN last and −∞ first.
    if not (np.isfinite(values[0]) and np.isfinite(values[-1])):
        return "some values are not finite"
    if values[0] <= 0:
        return "some values are not positive"
    if values[-1] - values[0] <= MIN_SPREAD * values[0]:
        return "all values are equal to within 0.1 %: they have no tail"
    return "ok"


def heights_and_slopes(values: Floats) -> tuple[Floats, Floats]:
    """Return ln(x_n / x_j) [..., n] and α_i − 1 [..., n − 1] of values that ascend along the last axis."""
    steps = _log_steps(values)
    heights = np.zeros(values.shape)
    # Heights are measured down from the largest value, so that a tail's own small differences keep their precision.
    heights[..., :-1] = np.cumsum(steps[..., ::-1], axis=-1)[..., ::-1]
    return heights, _slopes(steps)


def _log_steps(values: Floats) -> Floats:
    """Return ln(x_{k+1} / x_k), with full relative precision for near-equal neighbours too."""
    low, high = values[..., :-1], values[..., 1:]
    with np.errstate(over="ignore"):
        steps = np.log1p((high - low) / low)
    wide = ~np.isfinite(steps)
    steps[wide] = np.log(high[wide]) - np.log(low[wide])
    return np.asarray(steps)


def _slopes(steps: Floats) -> Floats:
    """Return α_i − 1 for every start of the tail; infinite where all of the tail is equal."""
    # Σ_{j≥i} ln(x_j/x_i) counts the step from k to k+1 once for each value above it: a sum of terms ≥ 0, which
    # loses nothing to cancellation, unlike Σ ln x_j − m ln x_i.
    above = np.arange(steps.shape[-1], 0, -1, dtype=np.float64)
    totals = np.cumsum((steps * above)[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore"):
        return np.asarray((above + 1) / totals)


def _scan(heights: Floats, slopes: Floats) -> tuple[int, float]:
    """Return the first start with the smallest distance, and that distance."""
    starts = np.flatnonzero(np.isfinite(slopes))
    best, distance = int(starts[0]), math.inf
    # Coarse bounds thin out the starts, finer ones thin out what is left.
    for n_positions in (16, 128):
        bounds = _bounds(heights, slopes, starts, n_positions)
        first = int(starts[np.argmin(bounds)])
        candidate = _distance(heights, slopes, first)
        if (candidate, first) < (distance, best):
            best, distance = first, candidate
        kept = bounds <= distance + SLACK
        starts, bounds = starts[kept], bounds[kept]
    for index in np.argsort(bounds, kind="stable"):
        if bounds[index] > distance + SLACK:
            break
        start = int(starts[index])
        candidate = _distance(heights, slopes, start)
        if (candidate, start) < (distance, best):
            best, distance = start, candidate
    return best, distance


def _bounds(heights: Floats, slopes: Floats, starts: NDArray[np.intp], n_positions: int) -> Floats:
    """Return the largest difference at a few positions of each tail: at most its distance D_i."""
    n = heights.size
    # Midpoints of equal parts of the tail, and its last value, where the difference is often largest.
    parts = np.append((np.arange(n_positions) + 0.5) / n_positions, 1.0)
    bounds = np.empty(starts.size)
    rows = max(1, _BLOCK // parts.size)
    for begin in range(0, starts.size, rows):
        i = starts[begin : begin + rows, None]
        offset = np.minimum((parts * (n - i)).astype(np.intp), n - 1 - i)
        model = 1 - np.exp(slopes[i] * (heights[i + offset] - heights[i]))
        bounds[begin : begin + rows] = np.abs(model - offset / (n - i)).max(axis=1)
    return bounds


def _distance(heights: Floats, slopes: Floats, start: int) -> float:
    """Return D_i."""
    m = heights.size - start
    model = 1 - np.exp(slopes[start] * (heights[start:] - heights[start]))
    return float(np.abs(model - np.arange(m) / m).max())
