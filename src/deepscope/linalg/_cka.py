"""How alike two representations of the same samples are."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import same_samples

#: Rows of a product that are made at a time: what it takes stays small beside the representations.
_BLOCK = 1024


def cka(x: NDArray[Any] | Tensor, y: NDArray[Any] | Tensor, *, unbiased: bool = True) -> float:
    """Return the linear centred kernel alignment of two representations of the same n samples.

    HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) with K = XXᵀ and L = YYᵀ: 1 where the representations differ by a rotation, a
    scale and a shift alone (``kornblith2019similarity``). The plain estimate of HSIC, ‖XᵀY‖²_F with centred columns, is
    far above 0 for independent representations once they have as many features as there are samples; the unbiased one,

        HSIC = [tr K̃L̃ + (1ᵀK̃1)(1ᵀL̃1)/((n − 1)(n − 2)) − 2·1ᵀK̃L̃1/(n − 2)] / (n(n − 3)),

    leaves out the diagonals, K̃ = K − diag K, and is 0 in the mean (``song2012feature``).

    Parameters
    ----------
    x, y
        [n, d] and [n, e]; further dimensions are flattened. Rows belong to the same samples in the same order.
    unbiased
        Which estimate. A ratio of unbiased estimates is not itself unbiased, but is so at 0.

    Returns
    -------
    float
        At most 1; the unbiased estimate may lie below 0.

    Raises
    ------
    UsageError
        Samples are not as many, fewer than two (four for the unbiased estimate), or not finite; or a representation is
        the same for all samples, or with the unbiased estimate so unlike between any two that it has no kernel left.

    Notes
    -----
    Computed in float64. With centred columns 1ᵀK = 0, so that every term follows from ‖XᵀY‖²_F and the rows' squared
    norms: neither estimate needs a matrix of samples. Cost: 2·n·d·e operations or n²·(d + e), whichever is less.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 200))
    >>> rotation = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    >>> round(cka(x, 3 * x @ rotation + 1), 12)
    1.0
    >>> other = rng.normal(size=(50, 200))
    >>> abs(cka(x, other)) < 0.1, cka(x, other, unbiased=False) > 0.7
    (True, True)
    """
    X, Y = same_samples(x, y, 4 if unbiased else 2)
    both, own, other = (_hsic(*pair, unbiased=unbiased) for pair in ((X, Y), (X, X), (Y, Y)))
    for name, value in (("x", own), ("y", other)):
        if not value > 0:
            raise UsageError(
                "a representation is the same for all samples, or any two samples are equally unlike in it",
                where=name,
                todo="Leave this layer out, or give more samples.",
            )
    return min(1.0, both / math.sqrt(own * other))


def _hsic(X: Tensor, Y: Tensor, *, unbiased: bool) -> float:
    n = len(X)
    product = _squared_norm_of_product(X, Y)
    if not unbiased:
        return product / (n - 1) ** 2
    k, el = X.square().sum(dim=1), Y.square().sum(dim=1)
    diagonals = float(k @ el)
    # 1ᵀK̃1 = −Σ k_i, 1ᵀK̃L̃1 = Σ k_i l_i and tr K̃L̃ = ‖XᵀY‖² − Σ k_i l_i, as 1ᵀK = 0.
    found = product - diagonals + float(k.sum() * el.sum()) / ((n - 1) * (n - 2)) - 2 * diagonals / (n - 2)
    # Of a kernel that is all diagonal nothing is left but the rounding of what cancels.
    floor = 1e-13 * (product + diagonals)
    return 0.0 if X is Y and found <= floor else found / (n * (n - 3))


def _squared_norm_of_product(X: Tensor, Y: Tensor) -> float:
    """Return ‖XᵀY‖²_F = Σᵢⱼ (XXᵀ)ᵢⱼ(YYᵀ)ᵢⱼ, by features or by samples."""
    n, d, e = len(X), X.shape[1], Y.shape[1]
    if 2 * d * e <= n * (d + e):
        products = (X[:, start : start + _BLOCK].T @ Y for start in range(0, d, _BLOCK))
        return sum(float(part.square().sum()) for part in products)
    rows = (slice(start, start + _BLOCK) for start in range(0, n, _BLOCK))
    return sum(float(((X[some] @ X.T) * (Y[some] @ Y.T)).sum()) for some in rows)
