"""Whether entries have heavier tails than Gaussian ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

_CHUNK = 2**17
#: Fewer values than this, and the test's normal approximation does not hold.
_FEWEST = 20


class Kurtosis(NamedTuple):
    """The excess kurtosis of a sample, and the probability of one as large among Gaussian values."""

    excess: float
    p_value: float


def kurtosis(values: Tensor) -> Kurtosis | None:
    """Return m₄/m₂² − 3 of all values of a tensor, and the p-value of Anscombe and Glynn's one-sided test.

    Below 0 for uniform values (−1.2), 0 for Gaussian ones, above 0 where single values stick out.

    Parameters
    ----------
    values
        Of any shape, floating-point type and device.

    Returns
    -------
    Kurtosis or None
        None for fewer than 20 values, values that are all equal, and values that are not finite.

    Notes
    -----
    Cost: three passes in chunks of 2¹⁷ values in float64. Source: ``anscombe1983distribution``.

    Examples
    --------
    >>> round(kurtosis(torch.tensor([-1.0, 1.0] * 20)).excess, 12)
    -2.0
    """
    flat = values.detach().flatten()
    n = flat.numel()
    if n < _FEWEST:
        return None
    chunks = [flat[start : start + _CHUNK] for start in range(0, n, _CHUNK)]
    # Of values scaled to at most 1: fourth powers then neither overflow nor vanish.
    # float32 holds the narrow types, which lack most operations, exactly.
    largest = max(float(_wide(chunk).abs().max()) for chunk in chunks)
    if not 0 < largest < math.inf:
        return None
    mean = math.fsum(float((chunk.double() / largest).sum()) for chunk in chunks) / n
    second = fourth = 0.0
    for chunk in chunks:
        squares = (chunk.double() / largest - mean).square_()
        second += float(squares.sum())
        fourth += float(squares.square_().sum())
    # What is left of equal values is rounding.
    if second / n <= (torch.finfo(torch.float64).eps * max(1.0, abs(mean))) ** 2:
        return None
    excess = n * fourth / second**2 - 3
    return Kurtosis(excess, _p_value(excess, n))


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _p_value(excess: float, n: int) -> float:
    """Return the probability of so large an excess among n Gaussian values: equations 1 to 6 of the source."""
    mean = -6 / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    x = (excess - mean) / math.sqrt(variance)
    skewness = (
        6 * (n * n - 5 * n + 2) / ((n + 7) * (n + 9)) * math.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    )
    a = 6 + 8 / skewness * (2 / skewness + math.sqrt(1 + 4 / skewness**2))
    below = 1 + x * math.sqrt(2 / (a - 4))
    z = (1 - 2 / (9 * a) - math.copysign(((1 - 2 / a) / abs(below)) ** (1 / 3), below)) / math.sqrt(2 / (9 * a))
    return float(stats.norm.sf(z))
