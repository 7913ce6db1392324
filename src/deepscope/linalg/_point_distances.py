"""Distances between all pairs of points: straight ones, and along the set near which they lie."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import as_points

Floats = NDArray[np.float64]

#: Squares of distances below this share of the largest cancel in products, and are computed from differences.
_CANCELLED = 1e-6
#: Pairs whose differences are held at a time.
_BLOCK = 4096


class FarthestPoints(NamedTuple):
    """Points that stand for a set.

    Attributes
    ----------
    indices
        [k], which points they are, each the farthest from all before it.
    radius
        No point of the set is farther than this from the nearest of them.
    """

    indices: NDArray[np.int64]
    radius: float


def point_distances(points: NDArray[Any] | Tensor) -> Floats:
    """Return the Euclidean distances between all pairs of points.

    Parameters
    ----------
    points
        [n, d]; further dimensions are flattened.

    Returns
    -------
    ndarray
        [n, n], float64, symmetric; to nine digits, and 0 between points that are the same.

    Raises
    ------
    UsageError
        There are no points, or values that are not finite.

    Notes
    -----
    Cost: 2·n²·d operations, and as many again at worst, where most points are next to others.

    Examples
    --------
    >>> point_distances(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])).round(12).tolist()
    [[0.0, 5.0, 0.0], [5.0, 0.0, 5.0], [0.0, 5.0, 0.0]]
    """
    if np.ndim(points) and not len(points):
        raise UsageError("no points have no distances", where="point_distances")
    X = as_points(points, "points")
    # Squares of very large or small numbers would overflow or vanish; products of large ones drown small distances.
    X = X - X.mean(dim=0)
    scale = float(X.abs().max()) if X.numel() else 0.0
    if not scale > 0:
        return np.zeros((len(X), len(X)))
    X = X / scale
    norms = X.square().sum(dim=1)
    squares = (norms[:, None] + norms - 2 * (X @ X.T)).triu(1)
    near = (squares < _CANCELLED * float(norms.max())).triu(1).nonzero()
    for some in torch.split(near, _BLOCK):
        squares[some[:, 0], some[:, 1]] = (X[some[:, 0]] - X[some[:, 1]]).square().sum(dim=1)
    distances = squares.sqrt() * scale
    return (distances + distances.T).cpu().numpy()


def geodesic_distances(distances: Floats, neighbours: int = 8) -> Floats:
    """Return distances along the graph that joins each point to its nearest ones, as ``tenenbaum2000global`` does.

    On a curved set these are nearer to the distances within it than straight lines are, and a layer that only bends the
    set changes them little, which is why ``naitzat2020topology`` look at networks through them (they count edges, where
    here their lengths are added up).

    Parameters
    ----------
    distances
        [n, n], symmetric.
    neighbours
        How many nearest points each is joined to; its shortest spanning tree is joined as well, so that no point
        stands apart.

    Returns
    -------
    ndarray
        [n, n].

    Raises
    ------
    UsageError
        The matrix is not square, or ``neighbours`` is below 1.

    Notes
    -----
    Cost: n² log n times the neighbours.

    Examples
    --------
    >>> corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    >>> float(geodesic_distances(point_distances(corner), neighbours=1)[0, 2])
    2.0
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path

    D = square(distances, "geodesic_distances")
    if neighbours < 1:
        raise UsageError(f"neighbours must be at least 1, not {neighbours}", where="geodesic_distances")
    n, k = len(D), min(neighbours, len(D) - 1)
    if n < 3:
        return D.copy()
    # A graph's entries of 0 are no edges; between copies of a point there is one, of no length that counts.
    least = np.finfo(np.float64).tiny
    edges = np.maximum(D, least)
    np.fill_diagonal(edges, np.inf)
    joined = np.zeros((n, n), dtype=bool)
    np.put_along_axis(joined, np.argpartition(edges, k - 1, axis=1)[:, :k], True, axis=1)
    np.fill_diagonal(edges, 0.0)
    joined[minimum_spanning_tree(edges).nonzero()] = True
    graph = csr_array(np.where(joined | joined.T, edges, 0.0))
    found: Floats = shortest_path(graph, method="D", directed=False)
    return np.where(found < least * n, 0.0, (found + found.T) / 2)


def farthest_points(distances: Floats, k: int, first: int = 0) -> FarthestPoints:
    """Choose points one by one, each the farthest from those chosen before.

    With k of them every point is at most twice as far from the nearest as the best choice of k would have it
    (``gonzalez1985clustering``).

    Parameters
    ----------
    distances
        [n, n], symmetric.
    k
        How many at most; copies of a chosen point are not chosen.
    first
        The one to begin with.

    Returns
    -------
    FarthestPoints

    Raises
    ------
    UsageError
        The matrix is not square, k is below 1, or there is no point ``first``.

    Notes
    -----
    Cost: k·n comparisons.

    Examples
    --------
    >>> line = np.array([[0.0], [1.0], [2.0], [10.0]])
    >>> found = farthest_points(point_distances(line), 3)
    >>> found.indices.tolist(), round(found.radius, 12)
    ([0, 3, 2], 1.0)
    """
    D = square(distances, "farthest_points")
    if k < 1 or not 0 <= first < len(D):
        raise UsageError(f"k={k} and first={first} choose none of {len(D)} points", where="farthest_points")
    chosen = [first]
    near = D[first].copy()
    while len(chosen) < k:
        farthest = int(near.argmax())
        if not near[farthest] > 0:
            break
        chosen.append(farthest)
        np.minimum(near, D[farthest], out=near)
    return FarthestPoints(np.array(chosen), float(near.max()))


def square(distances: Floats, where: str) -> Floats:
    """Return a matrix of distances in float64, or say that it is none.

    Raises
    ------
    UsageError
        It is empty, not square, not finite, or holds negative numbers.
    """
    D = np.asarray(distances, dtype=np.float64)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or not D.size or not (np.isfinite(D).all() and (D >= 0).all()):
        raise UsageError(
            "distances are a square matrix of finite numbers from 0 on",
            where=f"{where}, shape {D.shape}",
            todo="Give point_distances(points) of at least one point.",
        )
    return D
