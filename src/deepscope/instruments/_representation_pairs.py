"""How alike the representations of all pairs of layers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.linalg import CKAMatrix

Floats = NDArray[np.float64]

#: Samples whose kernels are compared at a time.
BATCH = 256
#: Samples whose shapes are compared: what a pair takes grows as their third power.
SHAPES = 128
#: Nearest neighbours of a sample.
NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Pairs:
    """Measures of all pairs, [l, m] each; missing where a representation is the same for all samples.

    Attributes
    ----------
    rbf
        Unbiased centred kernel alignment with Gaussian kernels of the median distance.
    procrustes
        Procrustes distance of the first samples' representations.
    procrustes_null
        The mean distance of representations from others whose samples are in random order.
    neighbours
        Share of the ten nearest neighbours in common.
    """

    rbf: Floats
    procrustes: Floats
    procrustes_null: float | None
    neighbours: Floats


def compare_pairs(mine: Sequence[Tensor], theirs: Sequence[Tensor] | None, seed: int) -> Pairs:
    """Compare representations of the same n samples, [n, …] each; with one another where there are no others."""
    xs = [_ready(each) for each in mine]
    ys = xs if theirs is None else [_ready(each) for each in theirs]
    procrustes, null = _procrustes(xs, ys, seed)
    return Pairs(_rbf(xs, None if theirs is None else ys), procrustes, null, _neighbours(xs, ys))


def _ready(rows: Tensor) -> Tensor:
    X = rows.detach().double().cpu()
    X = torch.zeros_like(X) if not bool(torch.isfinite(X).all()) else X
    X = X - X.mean(dim=0)
    largest = float(X.abs().max())
    return X / largest if largest > 0 else X


def _rbf(xs: Sequence[Tensor], ys: Sequence[Tensor] | None) -> Floats:
    matrix = CKAMatrix(bandwidth=1.0)
    n = len(xs[0])
    # As even as can be, so that none is too small.
    for part in torch.arange(n).tensor_split(-(-n // BATCH)):
        matrix.add([each[part] for each in xs], None if ys is None else [each[part] for each in ys])
    return matrix.result().values


def _procrustes(xs: Sequence[Tensor], ys: Sequence[Tensor], seed: int) -> tuple[Floats, float | None]:
    n = min(SHAPES, len(xs[0]))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    left = [_shape(each[:n]) for each in xs]
    right = left if ys is xs else [_shape(each[:n]) for each in ys]
    values = np.full((len(left), len(right)), np.nan)
    nulls = []
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            if one is None or other is None:
                continue
            if right is left and j <= i:
                values[i, j] = values[j, i] if j < i else 0.0
            else:
                values[i, j] = _distance(one, other)
        partner = right[i % len(right)]
        if one is not None and partner is not None:
            nulls.append(_distance(one, partner[order]))
    return values, float(np.mean(nulls)) if nulls else None


def _shape(X: Tensor) -> Tensor | None:
    """Return the points centred and of norm 1, up to a rotation in as few columns as there can be."""
    X = X - X.mean(dim=0)
    norm = float(torch.linalg.vector_norm(X))
    if not norm > 0:
        return None
    return (torch.linalg.qr(X.T, mode="r").R.T if X.shape[1] > len(X) else X) / norm


def _distance(one: Tensor, other: Tensor) -> float:
    """Return √(2 − 2‖XᵀY‖_*), the nuclear norm from the eigenvalues of a product: three times as fast as a SVD.

    Singular values below 1e-8 of the largest are lost to rounding, which for 128 of them is 1e-6 of the norm.
    """
    product = one.T @ other
    product = product if product.shape[0] <= product.shape[1] else product.T
    nuclear = float(torch.linalg.eigvalsh(product @ product.T).clamp(min=0).sqrt().sum())
    return float(np.sqrt(max(0.0, 2 - 2 * nuclear)))


def _neighbours(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> Floats:
    n = len(xs[0])
    k = min(NEIGHBOURS, n - 2)
    left = [_nearest(each, k) for each in xs]
    right = left if ys is xs else [_nearest(each, k) for each in ys]
    values = np.full((len(left), len(right)), np.nan)
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            if one is None or other is None:
                continue
            if right is left and j < i:
                values[i, j] = values[j, i]
            else:
                values[i, j] = float(torch.count_nonzero(one & other)) / (n * k)
    return values


def _nearest(X: Tensor, k: int) -> Tensor | None:
    """Return who is among whose k nearest, [n, n]; None where all points are the same or there are too few."""
    if k < 1 or not bool(X.any()):
        return None
    squares = X.square().sum(dim=1)
    distances = squares - 2 * (X @ X.T)
    distances.fill_diagonal_(torch.inf)
    near = distances.argsort(dim=1, stable=True)[:, :k]
    return torch.zeros(len(X), len(X), dtype=torch.bool).scatter_(1, near, True)
