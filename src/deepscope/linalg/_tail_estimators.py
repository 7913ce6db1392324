"""Exponents of a tail from its largest k values: Hill's estimator and, independent of it, the moment estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._power_law import Floats, as_sorted, heights_and_slopes


@dataclass(frozen=True)
class MomentAlpha:
    """The exponent of a tail by the moment estimator.

    Attributes
    ----------
    status
        ``"ok"``, or why there is no exponent; ``alpha`` and ``stderr`` are then None.
    k
        How many values above the threshold were used.
    index
        The extreme-value index γ: positive for a heavy tail, 0 for an exponential one, negative where the values have
        an upper end. None where it could not be had.
    alpha
        The exponent 1 + 1 / γ.
    stderr
        Its asymptotic standard error √((1 + γ²) / k) / γ².
    """

    status: str
    k: int
    index: float | None = None
    alpha: float | None = None
    stderr: float | None = None


def hill_estimates(x: NDArray[Any] | Tensor) -> Floats:
    """Return Hill's estimate of the exponent from the largest k values, for every k: the Hill plot.

    With x ascending and n values,

        α_k = 1 + k / Σ_{j=1…k} ln(x_{n−j+1} / x_{n−k}),    k = 1 … n − 1.

    Parameters
    ----------
    x
        Positive values, any order, any scale, any shape; flattened.

    Returns
    -------
    ndarray
        α_k [n − 1], first that of k = 1; infinite where the k + 1 largest values are equal.

    Raises
    ------
    UsageError
        Fewer than two values, or values that are not positive and finite.

    Notes
    -----
    The threshold x_{n−k} does not count among the k, as it does among the values of a fit's tail: the α of
    :func:`fit_power_law` is 1 + (α_k − 1)(k + 1) / k at k = n_tail − 1. Cost: sorting. Source: ``hill1975simple``.

    Examples
    --------
    >>> hill_estimates(np.exp([0.0, 1.0, 3.0]))
    array([1.5, 1.5])
    """
    values = _positive(x)
    slopes = heights_and_slopes(values)[1][::-1]
    k = np.arange(1, values.size)
    return np.asarray(1 + slopes * k / (k + 1))


def moment_alpha(x: NDArray[Any] | Tensor, k: int) -> MomentAlpha:
    """Estimate the exponent from the largest k values by the moments of their logarithms.

    With x ascending, n values, and M_r = Σ_{j=1…k} ln(x_{n−j+1} / x_{n−k})^r / k,

        γ = M_1 + 1 − ½ / (1 − M_1² / M_2),    α = 1 + 1 / γ.

    Hill's M_1 is right for heavy tails alone; this γ is right for every tail, so that it says whether one is heavy.

    Parameters
    ----------
    x
        Positive values, any order, any scale, any shape; flattened.
    k
        How many of the largest values lie above the threshold, 2 to n − 1.

    Returns
    -------
    MomentAlpha
        The estimate, or a status: γ is not positive, so that the tail is not heavy, or the k values are equal.

    Raises
    ------
    UsageError
        A k that is out of range, or values that are not positive and finite.

    Notes
    -----
    Cost: sorting. Source: ``dekkers1989moment``.

    Examples
    --------
    >>> x = (np.arange(1, 10001) / 10001) ** -0.5
    >>> round(moment_alpha(x, 2000).alpha, 1)
    3.0
    >>> moment_alpha(np.arange(1, 10001), 2000).status
    'the tail is not heavy: its extreme-value index is not positive'
    """
    values = _positive(x)
    if not 2 <= k < values.size:
        raise UsageError(
            "the largest k values are not 2 to n − 1", where=f"k={k}, n={values.size}", todo="Choose another k."
        )
    logs = heights_and_slopes(values[-k - 1 :])[0]
    logs = logs[0] - logs[1:]
    first = float(logs.mean())
    # 1 − M_1² / M_2 is the variance over M_2; as a difference it would lose the digits of near-equal logarithms.
    spread, second = float(np.square(logs - first).mean()), float(np.square(logs).mean())
    if spread <= 0:
        return MomentAlpha(f"the largest {k} values are equal", k)
    index = first + 1 - second / (2 * spread)
    if index <= 0:
        return MomentAlpha("the tail is not heavy: its extreme-value index is not positive", k, index)
    return MomentAlpha("ok", k, index, 1 + 1 / index, math.sqrt((1 + index**2) / k) / index**2)


def _positive(x: NDArray[Any] | Tensor) -> Floats:
    """Return sorted values, or say why they have no tail."""
    values = as_sorted(x)
    if values.size < 2 or not (values[0] > 0 and np.isfinite(values[-1])):
        raise UsageError(
            "a tail needs two or more positive, finite values",
            where=f"{values.size} values",
            todo="Leave out zeros and values that are not finite.",
        )
    return values
