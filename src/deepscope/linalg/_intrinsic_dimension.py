"""On how many coordinates a cloud of points really depends."""

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

#: Neighbours of a point behind the likelihood estimate.
_NEIGHBOURS = 10
#: Points whose distances to all others are held at a time.
_BLOCK = 512
#: n·Var(mean of ln μ) over its square, for points that are uniform: 1 if ratios were independent, but neighbours share
#: distances. Between 1.25 and 1.65 for dimensions from 1 to 20; tests/linalg/test_intrinsic_dimension.py measures it.
_DEPENDENCE = 1.55
_QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class IntrinsicDimension:
    """The dimension of the set near which points lie.

    Attributes
    ----------
    dimension, low, high
        By the ratios of the first two neighbours' distances (TwoNN), with its 95 % interval.
    likelihood
        By maximum likelihood from ten neighbours, as a cross-check: it looks farther, and where the two disagree the
        dimension depends on the scale.
    n
        Points used.
    n_duplicates
        Points that are the same as another one, and left out.
    """

    dimension: float
    low: float
    high: float
    likelihood: float
    n: int
    n_duplicates: int


def intrinsic_dimension(x: NDArray[Any] | Tensor) -> IntrinsicDimension:
    """Estimate the intrinsic dimension of n points from the distances to their nearest neighbours.

    Where the density hardly changes over the distance r₂ to a point's second neighbour, μ = r₂/r₁ has the density
    d·μ^(−d−1) in dimension d, whatever the density itself, so that d̂ = (n − 1)/Σ ln μ (``facco2017estimating``). The
    likelihood estimate is that of ``levina2004maximum`` with ten neighbours, averaged over points as 1/d is
    (``mackay2005comments``).

    Parameters
    ----------
    x
        [n, d]; further dimensions are flattened. Copies of a point count once.

    Returns
    -------
    IntrinsicDimension

    Raises
    ------
    UsageError
        There are fewer than twelve different points, or values that are not finite.

    Notes
    -----
    The interval is d̂·exp(±1.96·s), s² the variance of the mean of ln μ over its square. Ratios of points that are
    neighbours depend on one another: s² is the larger of what the products of such pairs' residuals say and 1.55/n,
    what they come to for uniform points. With 1/n, as if ratios were independent, it would hold the dimension in 88 %
    of draws (``tests/verify/test_dimension_coverage.py``).

    The estimate is too low where points are few for the dimension, and near boundaries: 20-dimensional spheres look
    like 16.5 dimensions to 1,000 points, ten-dimensional ones like 9.3 (``tests/linalg/test_intrinsic_dimension.py``);
    and too high where the set bends over the distance of a neighbour. The interval allows for no such bias. Noise adds
    its own dimensions at its own scale, which is that of the nearest neighbours.

    Cost: 2·n²·d operations in float64, for 512 points at a time.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.random((1000, 2)) @ rng.normal(size=(2, 50))
    >>> found = intrinsic_dimension(plane)
    >>> found.low < 2 < found.high, round(found.dimension)
    (True, 2)
    """
    points = as_points(x, "x")
    different = torch.unique(points, dim=0)
    n = len(different)
    if n < _NEIGHBOURS + 2:
        raise UsageError(
            f"{n} different points of {len(points)} have no dimension",
            where="intrinsic_dimension",
            todo=f"Give at least {_NEIGHBOURS + 2}; hundreds give an interval that says something.",
        )
    distances, neighbours = _nearest(different, _NEIGHBOURS)
    ratios = np.log(distances[:, 1] / distances[:, 0])
    mean = float(ratios.mean())
    likely = float(np.log(distances[:, -1:] / distances[:, :-1]).sum()) / (n * (_NEIGHBOURS - 1))
    if not (mean > 0 and likely > 0):
        raise UsageError(
            "all points are as far from their first as from their second neighbour: a lattice has no dimension so",
            where="intrinsic_dimension",
            todo="Give points that are not on a grid.",
        )
    spread = math.sqrt(max(_variance(ratios, neighbours[:, :2]) / mean**2, _DEPENDENCE / n))
    dimension = (n - 1) / n / mean
    return IntrinsicDimension(
        dimension=dimension,
        low=dimension * math.exp(-_QUANTILE * spread),
        high=dimension * math.exp(_QUANTILE * spread),
        likelihood=1 / likely,
        n=n,
        n_duplicates=len(points) - n,
    )


def _nearest(points: Tensor, k: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the distances to each point's k nearest others, ascending, up to scale, and which they are; [n, k]."""
    # Products of large numbers would drown small distances, and squares of small ones vanish.
    centred = points - points.mean(dim=0)
    centred /= centred.abs().max()
    norms = centred.square().sum(dim=1)
    distances, neighbours = [], []
    for start in range(0, len(points), _BLOCK):
        some = centred[start : start + _BLOCK]
        squares = norms - 2 * (some @ centred.T)
        rows = torch.arange(len(some), device=points.device)
        squares[rows, rows + start] = torch.inf
        # By products a few more candidates than are wanted, then by differences, which cancel nothing.
        candidates = squares.topk(min(k + 4, len(points) - 1), largest=False).indices
        exact = torch.linalg.vector_norm(centred[candidates] - some[:, None], dim=2)
        near = exact.topk(k, largest=False, sorted=True)
        distances.append(near.values)
        neighbours.append(candidates.gather(1, near.indices))
    return torch.cat(distances).cpu().numpy(), torch.cat(neighbours).cpu().numpy()


def _variance(values: NDArray[np.float64], neighbours: NDArray[np.intp]) -> float:
    """Return the variance of the mean of values of which those of neighbours depend on one another."""
    n, residuals = len(values), values - values.mean()
    own = np.arange(n)
    pairs = np.concatenate([own[:, None] * n + neighbours, neighbours * n + own[:, None]]).ravel()
    one, other = np.divmod(np.unique(pairs), n)
    return float(residuals @ residuals + residuals[one] @ residuals[other]) / n**2
