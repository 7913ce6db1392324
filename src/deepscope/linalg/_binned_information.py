"""Mutual information by counting: of labels, and of continuous variables cut into bins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._information_estimate import InformationEstimate, estimate_of
from deepscope.linalg._same_samples import as_points

Codes = NDArray[np.int64]

#: Mass of the values never seen, by Good and Turing the share of those seen once, from which counts say little.
_UNSEEN = 0.1


def codes_of(values: NDArray[Any] | Tensor) -> Codes:
    """Return numbers from 0 on for the different rows of a discrete variable, [n] or [n, d] to [n].

    >>> codes_of(np.array([[1, 2], [0, 5], [1, 2]])).tolist()
    [1, 0, 1]
    """
    rows = np.ascontiguousarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    rows = rows.reshape(len(rows), -1)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def binned(x: NDArray[Any] | Tensor, bins: int = 30, limits: tuple[float, float] | None = None) -> Codes:
    """Cut every feature into equal bins and number the different rows: [n, d] to [n].

    Parameters
    ----------
    x
        [n, d]; further dimensions are flattened.
    bins
        How many of equal width, from the first to the second of ``limits``; what lies outside is in the end bins.
    limits
        The same for all features; the least and the greatest value of ``x`` unless given. Estimates that are to be
        compared, as over training, need the same limits.

    Raises
    ------
    UsageError
        No bins, or limits in the wrong order, or values that are not finite.

    Examples
    --------
    >>> binned(np.array([[0.0], [0.4], [0.6], [1.0]]), bins=2).tolist()
    [0, 0, 1, 1]
    """
    points = as_points(x, "x")
    if bins < 1:
        raise UsageError("values are cut into at least one bin", where=f"bins = {bins}")
    low, high = limits or (float(points.min()), float(points.max())) if points.numel() else (0.0, 0.0)
    if low > high:
        raise UsageError("limits go from the lower to the upper", where=f"limits = {limits}")
    width = (high - low) / bins
    cells = ((points - low) / width).clamp(0, bins - 1) if width > 0 else torch.zeros_like(points)
    kind = np.int16 if bins < 2**15 else np.int64
    return codes_of(np.floor(cells.cpu().numpy()).astype(kind))


def binned_information(
    x: NDArray[Any] | Tensor,
    y: NDArray[Any] | Tensor,
    *,
    bins: int = 30,
    limits: tuple[float, float] | None = None,
    permutations: int = 99,
    rng: np.random.Generator | None = None,
) -> InformationEstimate:
    """Estimate the mutual information of two variables by counting how often their values come together.

    The plug-in estimate Î = Σ p̂(x, y) log₂ (p̂(x, y) / (p̂(x) p̂(y))), p̂ the share of samples. Whole numbers are taken as
    they are, floating-point features are cut into bins first (``binned``), so that rows of bins are the values.

    Parameters
    ----------
    x, y
        [n] or [n, d]; rows of the same samples.
    bins, limits
        Of what is floating-point; see ``binned``.
    permutations
        Random orders of y behind the null.
    rng
        Draws the orders and halves; seeded with 0 unless given.

    Returns
    -------
    InformationEstimate
        ``bias`` is (K_xy − K_x − K_y + 1) / (2n ln 2), K the numbers of values seen (``miller1955note``,
        ``panzeri1996analytical``): upward, and of use while it is small. ``ceiling`` is the smaller of log₂ n and what
        K_x and K_y allow.

    Raises
    ------
    UsageError
        Samples are not as many, fewer than four, or not finite; or there are too few permutations.

    Notes
    -----
    Saturated where all values of a variable differ: it then has log₂ n bits about itself and all bits of the other,
    also of one that has nothing to do with it, as the null shows. Undersampled where a tenth of the values is seen
    once. Of a continuous variable bins are measured, not the variable: the information of a variable with a bijection
    of it is infinite, and grows here by a bit each time bins are halved until it is log₂ n (``saxe2018information``,
    ``goldfeld2019estimating``).

    Of a Gaussian pair and 30 bins over its range, counting finds 0.42 bits too much at ρ = 0 and n = 1,000, and 0.18
    too little at ρ = 0.99 (``tests/linalg/test_binned_information.py``).

    Cost: n log n for each permutation.

    Examples
    --------
    >>> x = np.arange(400) % 4
    >>> found = binned_information(x, x // 2)
    >>> round(found.bits, 6), found.beats_null, found.status
    (1.0, True, 'ok')
    """
    one, other = (_codes(each, name, bins, limits) for each, name in ((x, "x"), (y, "y")))
    n = len(one)
    if n != len(other) or n < 4:
        raise UsageError(
            "variables cannot be compared",
            where=f"{n} and {len(other)} samples",
            todo="Give the same samples of both, at least 4.",
        )
    kinds = [len(np.unique(each)) for each in (one, other)]
    joint = _joint(one, other)
    cells = len(np.unique(joint))
    return estimate_of(
        n,
        on=lambda rows: _plug_in(one[rows], other[rows]),
        permuted=lambda orders: np.array([_plug_in(one, other[order]) for order in orders]),
        ceiling=min(math.log2(n), *(math.log2(kind) for kind in kinds)),
        status=lambda _: _status(n, kinds, joint),
        permutations=permutations,
        rng=rng,
        bias=(cells - sum(kinds) + 1) / (2 * n * math.log(2)),
    )


def _codes(values: NDArray[Any] | Tensor, name: str, bins: int, limits: tuple[float, float] | None) -> Codes:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim == 0:
        raise UsageError("a variable is a matrix [samples, features]", where=name)
    return binned(array, bins, limits) if np.issubdtype(array.dtype, np.floating) else codes_of(array)


def _joint(one: Codes, other: Codes) -> Codes:
    return one * (int(other.max()) + 1) + other


def _plug_in(one: Codes, other: Codes) -> float:
    return _entropy(one) + _entropy(other) - _entropy(_joint(one, other))


def _entropy(codes: Codes) -> float:
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-np.sum(shares * np.log2(shares)))


def _status(n: int, kinds: list[int], joint: Codes) -> str:
    for kind, name in zip(kinds, "xy", strict=True):
        if kind == n:
            return f"saturated: all {n:,} values of {name} differ"
    once = float(np.sum(np.unique(joint, return_counts=True)[1] == 1)) / n
    return f"undersampled: {once:.0%} of the samples have values seen once" if once > _UNSEEN else ""
