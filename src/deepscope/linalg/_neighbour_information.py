"""Mutual information from the distances to nearest neighbours, of two continuous variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._information_estimate import InformationEstimate, Rows, estimate_of
from deepscope.linalg._intrinsic_dimension import intrinsic_dimension
from deepscope.linalg._same_samples import as_points

Floats = NDArray[np.float64]

#: Samples whose distances are compared at a time.
_BLOCK = 1024
#: Samples in more than one dimension: all their distances are held at once, four times 134 MB.
MOST = 4096
#: Neighbours lie too far in more dimensions than three: of a Gaussian pair of five and one bit a quarter is missing.
_DIMENSIONS = 3.5
#: Bits below the ceiling at which an estimate says little more than how many samples there are.
_NEAR = 1.0


def ksg_information(
    x: NDArray[Any] | Tensor,
    y: NDArray[Any] | Tensor,
    k: int = 3,
    *,
    permutations: int = 99,
    rng: np.random.Generator | None = None,
) -> InformationEstimate:
    """Estimate the mutual information of two continuous variables from their nearest neighbours.

    Î = ψ(k) + ψ(n) − ⟨ψ(n_x + 1) + ψ(n_y + 1)⟩, the first estimator of ``kraskov2004estimating``: ε_i is the distance
    of sample i to its kth neighbour, the larger of the distances in x and in y, and n_x, n_y count the others that are
    nearer than ε_i in x and in y. Distances are Euclidean in each variable, after division by its root mean square
    deviation, so that shifts, rotations and scales of either change nothing.

    Parameters
    ----------
    x, y
        [n] or [n, d]; rows of the same samples.
    k
        Which neighbour: more of them scatter less and look farther.
    permutations
        Random orders of y behind the null.
    rng
        Draws the orders and halves; seeded with 0 unless given.

    Returns
    -------
    InformationEstimate
        ``ceiling`` is (ψ(n) − ψ(k)) / ln 2, about log₂ (n/k): a variable and a bijection of it, whose information is
        infinite, come to that. ``bias`` is None: there is no formula.

    Raises
    ------
    UsageError
        Samples are not as many, no more than 2k + 2, more than 4,096 in more than one dimension, or not finite; or
        there are too few permutations.

    Notes
    -----
    Not biased where there is nothing to find, in any dimension, and too low otherwise, the more so the more there is
    and the more dimensions it is spread over, as neighbours then lie beyond what the density keeps constant
    (``gao2015efficient``). Measured for Gaussian pairs, n = 1,000 and k = 3, each of d coordinates correlated with its
    own by ρ (``tests/verify/test_information_calibration.py``):

    ====  ====  ==========  =========
    d     ρ     truth       bias
    ====  ====  ==========  =========
    1     0.9   1.20 bits   +0.02
    1     0.99  2.83 bits   +0.02
    2     0.9   2.40 bits   −0.04
    2     0.99  5.65 bits   −0.43
    3     0.5   0.62 bits   −0.05
    5     0.5   1.04 bits   −0.26
    10    0.5   2.08 bits   −1.07
    20    0.5   4.15 bits   −2.99
    ====  ====  ==========  =========

    So the status says: saturated, within a bit of the ceiling; not converged, where half of the samples give less;
    beyond reach, where it beats its null and both variables have more than three dimensions (``intrinsic_dimension``).
    Copies of a sample, at distance 0, are counted as values of a discrete variable are (after ``gao2017estimating``).

    Cost: n²·(d_x + d_y) operations, and some 10·n² for each permutation; n log n where both are of one dimension.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=500)
    >>> found = ksg_information(x, 0.8 * x + 0.6 * rng.normal(size=500))
    >>> found.low < 0.737 < found.high, found.beats_null, found.status
    (True, True, 'ok')
    """
    X, Y = (scaled(each, name) for each, name in ((x, "x"), (y, "y")))
    n = len(X)
    if n != len(Y) or k < 1 or n < 2 * k + 3:
        raise UsageError(
            "variables have no neighbours to compare",
            where=f"{n} and {len(Y)} samples, k = {k}",
            todo=f"Give the same samples of both, at least {2 * max(k, 1) + 3}.",
        )
    flat = X.shape[1] == Y.shape[1] == 1
    if n > MOST and not flat:
        raise UsageError(
            f"{n:,} samples in more than one dimension have too many distances", todo=f"Give at most {MOST:,} of them."
        )
    pairs = _Sorted(X, Y, k) if flat else _Distances(X, Y, k)
    ceiling = float(digamma(n) - digamma(k)) / math.log(2)
    found = estimate_of(
        n,
        on=pairs.on,
        permuted=pairs.permuted,
        ceiling=ceiling,
        status=lambda bits: (
            f"saturated: within {_NEAR:g} bit of the {ceiling:.3g} that {n:,} samples can give"
            if bits > ceiling - _NEAR
            else ""
        ),
        permutations=permutations,
        rng=rng,
    )
    return found if found.status.startswith("saturated") else within_reach(found, (X, Y), _DIMENSIONS)


def within_reach(found: InformationEstimate, variables: Sequence[Tensor], most: float) -> InformationEstimate:
    """Say so where something is found of variables of too many dimensions for neighbours to be near."""
    if not found.beats_null:
        return found
    dimension = min(_dimension(each) for each in variables)
    if dimension <= most:
        return found
    return replace(found, status=f"beyond reach: too low, as d ≈ {dimension:.0f} and n = {found.n:,}")


def scaled(values: NDArray[Any] | Tensor, name: str) -> Tensor:
    """Return points about their mean, divided by their root mean square distance from it."""
    points = as_points(values, name)
    if points.numel() == 0:
        return points
    centred = points - points.mean(dim=0)
    size = float(centred.square().sum(dim=1).mean().sqrt())
    return centred / size if size > 0 else torch.zeros_like(centred)


def distances(points: Tensor) -> Tensor:
    """Return all distances, [n, n]; by differences, so that those of copies are exactly 0."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


class _Distances:
    """The estimator from all distances in x and in y."""

    def __init__(self, X: Tensor, Y: Tensor, k: int) -> None:
        self.k = k
        self.x, self.y = distances(X).cpu(), distances(Y).cpu()
        # So that counting what is nearer takes log n.
        self.sorted_x, self.sorted_y = self.x.sort(dim=1).values, self.y.sort(dim=1).values

    def on(self, rows: Rows) -> float:
        some = torch.from_numpy(rows)
        x, y = (each[some][:, some] for each in (self.x, self.y))
        radius, copies = self._radius(x, y[None], 0)
        # Of themselves too, which is the 1 that is added to n_x and n_y.
        n_x, n_y = (_nearer(d, radius[0][:, None]).sum(dim=1) for d in (x, y))
        return float(self._bits(copies[0], n_x, n_y))

    def permuted(self, orders: Rows) -> Floats:
        order, n = torch.from_numpy(orders), len(self.x)
        radii, copies = [], []
        for start in range(0, n, _BLOCK):
            some = order[:, start : start + _BLOCK]
            rows = self.y.index_select(0, some.reshape(-1)).reshape(*some.shape, n)
            y = rows.gather(2, order[:, None].expand_as(rows))
            found = self._radius(self.x[start : start + _BLOCK], y, start)
            radii.append(found[0])
            copies.append(found[1])
        radius, back = torch.cat(radii, dim=1), order.argsort(dim=1)
        n_x = _counted(self.sorted_x, radius)
        n_y = _counted(self.sorted_y, radius.gather(1, back)).gather(1, order)
        return self._bits(torch.cat(copies, dim=1), n_x, n_y)

    def _radius(self, x: Tensor, y: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Return the distance to the kth neighbour of some rows, [orders, rows], and where it is 0 how many copies."""
        joint = torch.maximum(x, y)
        own = torch.arange(len(x))
        joint[:, own, own + start] = torch.inf
        radius = joint.topk(self.k, dim=2, largest=False).values[..., -1]
        zero = radius == 0
        copies = (joint == 0).sum(dim=2) if bool(zero.any()) else torch.zeros_like(radius, dtype=torch.long)
        return radius, copies.where(zero, 0)

    def _bits(self, copies: Tensor, n_x: Tensor, n_y: Tensor) -> Floats:
        """Return the estimate from counts, [..., n] to [...]; k neighbours, or as many copies and the sample itself."""
        near = np.where(copies > 0, copies + 1, self.k)
        terms = digamma(near) - digamma(n_x.numpy()) - digamma(n_y.numpy())
        return np.asarray((digamma(terms.shape[-1]) + terms.mean(axis=-1)) / math.log(2))


def _nearer(d: Tensor, radius: Tensor) -> Tensor:
    """Whether a distance is less than the radius, or 0 as it is."""
    return torch.where(radius > 0, d < radius, d == 0)


def _counted(ordered: Tensor, radius: Tensor) -> Tensor:
    """Count the distances of each row that are less than radii, or 0 as they are: [n, n] and [orders, n]."""
    # The least number above 0 counts what is 0.
    above = torch.where(radius > 0, radius, torch.finfo(radius.dtype).smallest_normal)
    return torch.searchsorted(ordered, above.T.contiguous()).T


class _Sorted:
    """The same of two variables of one dimension, by trees: n log n."""

    def __init__(self, X: Tensor, Y: Tensor, k: int) -> None:
        self.x, self.y, self.k = X.cpu().numpy(), Y.cpu().numpy(), k

    def on(self, rows: Rows) -> float:
        return self._bits(self.x[rows], self.y[rows])

    def permuted(self, orders: Rows) -> Floats:
        return np.array([self._bits(self.x, self.y[order]) for order in orders])

    def _bits(self, x: Floats, y: Floats) -> float:
        joint = np.hstack([x, y])
        tree, n = cKDTree(joint), len(joint)
        radius: Floats = np.reshape(tree.query(joint, [self.k + 1], p=np.inf)[0], n)
        copies = radius == 0
        # The largest number below it, for what is nearer; 0 where only copies are.
        inside = np.nextafter(radius, 0)
        n_x, n_y = (cKDTree(v).query_ball_point(v, inside, p=np.inf, return_length=True) for v in (x, y))
        near = np.full(n, self.k)
        if copies.any():
            near[copies] = tree.query_ball_point(joint[copies], 0.0, p=np.inf, return_length=True)
        return float(digamma(n) + np.mean(digamma(near) - digamma(n_x) - digamma(n_y))) / math.log(2)


def _dimension(points: Tensor) -> float:
    try:
        return min(intrinsic_dimension(points).dimension, points.shape[1])
    except UsageError:
        # A few different values, or a grid.
        return 0.0
