"""In how many directions a cloud of points spreads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import as_points
from deepscope.linalg._spectra import effective_rank

_QUANTILE = 1.959963984540054
#: Variances below this share of the largest are rounding.
_ROUNDING = 1e-14


@dataclass(frozen=True)
class EffectiveDimensions:
    """How many directions points spread in; between 1 and the rank of their covariance.

    Attributes
    ----------
    effective_rank, effective_rank_low, effective_rank_high
        exp(−Σ p ln p), p = σ/Σσ over the singular values of the centred points (``roy2007effective``), and its 95 %
        interval.
    participation_ratio, participation_ratio_low, participation_ratio_high
        (Σλ)²/Σλ² over the eigenvalues λ = σ² of their covariance, which is less than the rank where few directions hold
        most of the variance, and its 95 % interval.
    """

    effective_rank: float
    effective_rank_low: float
    effective_rank_high: float
    participation_ratio: float
    participation_ratio_low: float
    participation_ratio_high: float


def effective_dimensions(x: NDArray[Any] | Tensor) -> EffectiveDimensions:
    """Measure in how many directions n points spread, by two averages over their principal components.

    Parameters
    ----------
    x
        [n, d]; further dimensions are flattened.

    Raises
    ------
    UsageError
        There are fewer than three points, values that are not finite, or all points are the same.

    Notes
    -----
    Intervals are those of the infinitesimal jackknife on the logarithm: a sample of weight 1 + ε changes eigenvalue λⱼ
    by the share ε(n·u²ᵢⱼ − 1)/n, u the left singular vectors. They say how far n other points would give another
    number, not how far infinitely many would: n points spread in at most n − 1 directions, and look flatter than they
    are (for uniform directions 1/PR is too large by about 1/n). With more directions than a tenth of the points
    intervals are up to 2.3 times as wide as they need be (``tests/linalg/test_effective_dimensions.py``).

    Cost: 2·n·d·min(n, d) operations and some 10·min(n, d)³, in float64.

    Examples
    --------
    >>> cross = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    >>> found = effective_dimensions(cross)
    >>> round(found.effective_rank, 9), round(found.participation_ratio, 9)
    (2.0, 2.0)
    """
    points = as_points(x, "x")
    n = len(points)
    largest = float(points.abs().max()) if points.numel() else 0.0
    centred = points / largest if largest > 0 else points
    centred = centred - centred.mean(dim=0)
    if n < 3 or not bool((centred.abs() > _ROUNDING).any()):
        raise UsageError(
            "points that are all the same spread in no direction" if n >= 3 else f"{n} points spread in no direction",
            where="effective_dimensions",
            todo="Give at least three different points.",
        )
    eigenvalues, weights = _principal(centred)
    sigma = np.sqrt(eigenvalues)
    p, share = sigma / sigma.sum(), eigenvalues / eigenvalues.sum()
    entropy = -float(p @ np.log(p))
    # What weight 1 + ε on a sample changes of each logarithm, by ε/n.
    of_rank = weights @ (-0.5 * p * (np.log(p) + entropy))
    of_ratio = weights @ (2 * share - 2 * share**2 / float(share @ share))
    rank, ratio = effective_rank(eigenvalues), 1 / float(share @ share)
    by_rank, by_ratio = (math.exp(_QUANTILE * _stderr(each)) for each in (of_rank, of_ratio))
    return EffectiveDimensions(rank, rank / by_rank, rank * by_rank, ratio, ratio / by_ratio, ratio * by_ratio)


def _principal(centred: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues λ of the points' scatter that are no rounding, and n·u² − 1 of their left singular vectors."""
    n, d = centred.shape
    if d <= n:
        values, axes = torch.linalg.eigh(centred.T @ centred)
        kept = values > _ROUNDING * values[-1]
        squares = (centred @ axes[:, kept]).square()
        squares = squares / squares.sum(dim=0)
    else:
        values, left = torch.linalg.eigh(centred @ centred.T)
        kept = values > _ROUNDING * values[-1]
        squares = left[:, kept].square()
    return values[kept].cpu().numpy(), (n * squares - 1).cpu().numpy()


def _stderr(influence: NDArray[np.float64]) -> float:
    return math.sqrt(float(influence @ influence) / (len(influence) * (len(influence) - 1)))
