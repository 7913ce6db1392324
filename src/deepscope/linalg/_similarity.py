"""Two more ways in which representations of the same samples are alike: their shape, and who is whose neighbour."""

from __future__ import annotations

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import same_samples

#: Samples whose distances to all others are held at a time.
_BLOCK = 512


def procrustes_distance(x: NDArray[Any] | Tensor, y: NDArray[Any] | Tensor) -> float:
    """Return how far apart two representations stay under the best rotation, between 0 and √2.

    min over orthogonal Q of ‖X/‖X‖ − YQ/‖Y‖‖_F = √(2 − 2·‖XᵀY‖_*/(‖X‖‖Y‖)) with centred columns and the nuclear norm
    ‖·‖_*: a metric between shapes (``williams2021generalized``).

    Parameters
    ----------
    x, y
        [n, d] and [n, e], rows of the same samples; further dimensions are flattened. The narrower one is thought to
        have further columns of zeros.

    Raises
    ------
    UsageError
        Samples are not as many, fewer than two, or not finite; or a representation is the same for all samples.

    Notes
    -----
    With many more features than samples all representations come to have one shape, that of n points equally far from
    one another, and the distance goes to 0: compare with that of samples in another order.
    Cost: n·d·e or n²·(d + e) operations, and (the least of n, d, e)³.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    >>> round(procrustes_distance(square, 5 * square[:, ::-1] + 2), 6)
    0.0
    """
    X, Y = same_samples(x, y, 2)
    norms = [float(torch.linalg.vector_norm(each)) for each in (X, Y)]
    for name, norm in zip("xy", norms, strict=True):
        if not norm > 0:
            raise UsageError("a representation is the same for all samples", where=name)
    # Fewer numbers with the same singular values: a rotation of the features leaves at most n of them.
    left, right = (_narrowed(each / norm) for each, norm in zip((X, Y), norms, strict=True))
    nuclear = float(torch.linalg.svdvals(left.T @ right).sum())
    return math.sqrt(max(0.0, 2 - 2 * nuclear))


def mutual_neighbours(x: NDArray[Any] | Tensor, y: NDArray[Any] | Tensor, k: int = 10) -> float:
    """Return the share of each sample's k nearest neighbours that two representations have in common.

    The mean over samples of |Nₖ(xᵢ) ∩ Nₖ(yᵢ)|/k (``huh2024platonic``): 1 where neighbours are the same, and k/(n − 1)
    in the mean for representations that have nothing to do with one another.

    Parameters
    ----------
    x, y
        [n, d] and [n, e], rows of the same samples; further dimensions are flattened.
    k
        How many neighbours, by Euclidean distance; of equally far ones the first.

    Raises
    ------
    UsageError
        Samples are not as many, no more than k, or not finite.

    Notes
    -----
    Cost: 2·n²·(d + e) operations, in float64, for 512 samples at a time.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> mutual_neighbours(x, 2 * x + 1), mutual_neighbours(x, x[::-1]) < 0.1
    (1.0, True)
    """
    if k < 1:
        raise UsageError("a sample has at least one neighbour", where=f"k = {k}")
    X, Y = same_samples(x, y, k + 1)
    shared = 0
    for start in range(0, len(X), _BLOCK):
        mine, theirs = (_neighbours(each, start, k) for each in (X, Y))
        shared += int((mine[:, :, None] == theirs[:, None, :]).sum())
    return shared / (len(X) * k)


def _narrowed(X: Tensor) -> Tensor:
    """Return a matrix with the same XXᵀ and no more columns than rows."""
    return torch.linalg.qr(X.T, mode="r").R.T if X.shape[1] > len(X) else X


def _neighbours(X: Tensor, start: int, k: int) -> Tensor:
    some = X[start : start + _BLOCK]
    squares = X.square().sum(dim=1) - 2 * (some @ X.T)
    rows = torch.arange(len(some), device=X.device)
    squares[rows, rows + start] = torch.inf
    return squares.argsort(dim=1, stable=True)[:, :k]
