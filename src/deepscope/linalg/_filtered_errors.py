"""How much of targets, outputs and errors on scattered points lies in low frequencies, with errors and nulls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError
from deepscope.linalg._gaussian_filter import GaussianFilter, gaussian_filter

Floats = NDArray[np.float64]

#: Groups of points of which each is left out once.
_GROUPS = 32
#: Multiplications that permutations may take; as many as a second of one core makes, and never fewer than gives a
#: level of one in twenty.
_MULTIPLICATIONS, _MOST, _FEWEST = 1e10, 200, 19
_TOGETHER = 16
#: An error of this share of the targets is rounding: of single precision, through a network.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LowShare:
    """The low-frequency share of values on n points, ‖S y‖² / ‖y‖² with the mean of y taken off.

    Attributes
    ----------
    value
        The share: 0 … about 1.
    stderr
        From leaving out groups of points in turn (jackknife); None with fewer than four points.
    null_mean, null_high
        Mean, in closed form, and 95 % quantile of the same values in random order over the points, which then have no
        frequency of their own: white noise.
    """

    value: float
    stderr: float | None
    null_mean: float
    null_high: float


@dataclass(frozen=True)
class FilteredErrors:
    """Low and high frequencies of targets, outputs and their difference, told apart by one filter.

    Attributes
    ----------
    width, neighbours
        δ of the filter, and over how many points it averages.
    target, output, error
        Their low-frequency shares; None where the values are the same at all points, or there are no outputs.
    e_low, e_low_stderr
        ‖(h − y)_low‖ / ‖y_low‖, means taken off, and its standard error: 1 for an output that is the same everywhere.
        None without outputs, and where the targets have no low part.
    e_high, e_high_stderr
        The same of the high part.
    """

    width: float
    neighbours: float
    target: LowShare | None
    output: LowShare | None
    error: LowShare | None
    e_low: float | None
    e_low_stderr: float | None
    e_high: float | None
    e_high_stderr: float | None


def filtered_errors(
    squared_distances: NDArray[Any],
    width: float,
    targets: NDArray[Any],
    outputs: NDArray[Any] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> FilteredErrors:
    """Tell low and high frequencies apart by a Gaussian filter of width δ over the points.

    Parameters
    ----------
    squared_distances
        Between the n points, [n, n].
    width
        δ: see ``GaussianFilter``.
    targets, outputs
        [n, k], or [n]; class indicators for classes. Outputs in the same units.
    rng
        Draws the permutations; a fixed one unless given.

    Raises
    ------
    UsageError
        Shapes that do not fit each other, or values that are not finite.

    Notes
    -----
    Leaving points out leaves them out of the filter as well. Multiplying distances and width by one number, or all
    values by one, changes nothing.
    Cost: n² exponentials, then n²·k multiplications for the parts and their errors, and as many for each of 19 to 200
    permutations, as far as 1e10 go. Memory: three matrices [n, n].
    Sources: ``xu2020frequency``, ``efron1981jackknife``.

    Examples
    --------
    >>> x = np.linspace(0, 1, 200)
    >>> y, squared = np.sin(2 * np.pi * x) + np.sin(30 * np.pi * x), np.subtract.outer(x, x) ** 2
    >>> found = filtered_errors(squared, 0.05, y, np.sin(2 * np.pi * x))
    >>> found.e_low < 0.1, round(found.e_high, 1)
    (True, 1.0)
    """
    squared, y = np.asarray(squared_distances, np.float64), _columns(targets, "targets")
    h = None if outputs is None else _columns(outputs, "outputs")
    if len(y) != len(squared) or (h is not None and h.shape != y.shape):
        shapes = f"{squared.shape}, targets {y.shape}" + ("" if h is None else f", outputs {h.shape}")
        raise UsageError("distances, targets and outputs do not fit each other", where=shapes)
    gaussian = gaussian_filter(squared, width)
    parts = [y] if h is None else [y, h, h - y]
    values = np.stack([_centred(part) for part in parts])
    exist = [_exists(part, y) for part in values]
    lows = np.einsum("ij,pjk->pik", gaussian.weights, values, optimize=True)
    found = _ratios(values, lows)
    errors = _jackknife(gaussian, np.stack(parts)) if len(y) >= 4 else None
    rng = rng or np.random.default_rng(0)
    shares: list[LowShare | None] = []
    for place, part in enumerate(values):
        if not exist[place]:
            shares.append(None)
            continue
        high = _permuted_high(gaussian, part, rng)
        stderr = None if errors is None else _known(errors[place])
        shares.append(LowShare(float(found[place]), stderr, gaussian.white_share, high))
    shares += [None] * (3 - len(shares))
    e_low, e_high = (_known(each) for each in found[3:]) if h is not None else (None, None)
    low_error, high_error = (
        (_known(each) for each in errors[3:]) if h is not None and errors is not None else (None,) * 2
    )
    return FilteredErrors(
        width=float(width),
        neighbours=gaussian.neighbours,
        target=shares[0],
        output=shares[1],
        error=shares[2],
        e_low=e_low,
        e_low_stderr=low_error if e_low is not None else None,
        e_high=e_high,
        e_high_stderr=high_error if e_high is not None else None,
    )


def _columns(values: NDArray[Any], name: str) -> Floats:
    array = np.asarray(values, np.float64)
    array = array.reshape(len(array), -1) if array.ndim else array
    if array.ndim != 2 or not array.shape[1] or not np.isfinite(array).all():
        raise UsageError("values are finite numbers [n, k], at least one for each point", where=name)
    # Columns that say nothing, as those of absent classes, cost as much as any other.
    return array


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean(axis=0), np.float64)


def _exists(part: Floats, targets: Floats) -> bool:
    size = max(float(np.abs(targets).max()), float(np.finfo(np.float64).tiny))
    return float(np.abs(part).max()) > _ROUNDING * size


def _ratios(values: Floats, lows: Floats) -> Floats:
    """Return low shares of targets, outputs and error, and e_low and e_high, of [parts, n, k]; NaN where there is none.

    Two of the parts are left out where there are no outputs.
    """
    total, low = np.sum(values**2, axis=(1, 2)), np.sum(lows**2, axis=(1, 2))
    high = np.sum((values - lows) ** 2, axis=(1, 2))
    shares = np.divide(low, total, out=np.full(len(total), np.nan), where=total > 0)
    if len(values) == 1:
        return np.asarray(shares, np.float64)
    # A part of the targets that is rounding is none.
    least = _ROUNDING**2 * total[0]
    e_low = math.sqrt(low[2] / low[0]) if low[0] > least else math.nan
    e_high = math.sqrt(high[2] / high[0]) if high[0] > least else math.nan
    return np.array([*shares, e_low, e_high])


def _jackknife(gaussian: GaussianFilter, parts: Floats) -> Floats:
    """Return standard errors of ``_ratios``, of [parts, n, k] values as they are."""
    n = parts.shape[1]
    count = min(n, _GROUPS)
    weights = gaussian.weights
    flat = parts.transpose(1, 0, 2).reshape(n, -1)
    whole = weights @ flat
    without = []
    for start in range(count):
        group = slice(start, n, count)
        kept = np.ones(n, dtype=bool)
        kept[group] = False
        columns = weights[kept][:, group]
        # Rows of sum 1: what is left of a row's weights is raised to 1 again. A point keeps itself.
        lows = (whole[kept] - columns @ flat[group]) / (1 - columns.sum(axis=1, keepdims=True))
        middle = flat[kept].mean(axis=0)
        shape = (len(lows), *parts.shape[::2])
        values = (flat[kept] - middle).reshape(shape).transpose(1, 0, 2)
        without.append(_ratios(values, (lows - middle).reshape(shape).transpose(1, 0, 2)))
    found = np.array(without)
    return np.asarray(np.sqrt((count - 1) / count * np.sum((found - found.mean(axis=0)) ** 2, axis=0)), np.float64)


def _permuted_high(gaussian: GaussianFilter, values: Floats, rng: np.random.Generator) -> float:
    """Return the 95 % quantile of the low share of centred values [n, k] in random order."""
    values = values[:, np.any(values != 0, axis=0)]
    n, k = values.shape
    count = int(np.clip(_MULTIPLICATIONS / (n * n * k), _FEWEST, _MOST))
    total = float(np.sum(values**2))
    shares: list[float] = []
    while len(shares) < count:
        # Several in one product take a quarter of the time that one after the other take.
        orders = [rng.permutation(n) for _ in range(min(_TOGETHER, count - len(shares)))]
        low = gaussian.weights @ np.concatenate([values[order] for order in orders], axis=1)
        shares += (np.einsum("ij,ij->j", low, low).reshape(-1, k).sum(axis=1) / total).tolist()
    # The least rank that one in twenty permutations reaches or passes, itself counted as one.
    return float(np.sort(shares)[math.ceil(0.95 * (count + 1)) - 1])


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
