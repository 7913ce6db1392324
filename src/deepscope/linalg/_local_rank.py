"""How many directions a map keeps at a point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError
from deepscope.linalg._same_samples import as_points


def local_rank(products: NDArray[Any] | Tensor, *, random: bool = False) -> NDArray[np.float64]:
    """Return the participation ratio (Σσ²)² / Σσ⁴ of Jacobians, σ their singular values.

    The number of directions of the input that a small ball around a point keeps when it is mapped: r where r singular
    values are equal and the others 0, the mean over points of what ``patel2024learning`` call the local rank, without
    a threshold below which a singular value counts as 0.

    Parameters
    ----------
    products
        [..., m, k]: the Jacobians [m, k] themselves, or their products with k directions as columns.
    random
        Whether the directions are independent and standard normal, drawn for each Jacobian. The sums are then over
        pairs of different columns, (Σ ‖Jv_a‖²‖Jv_b‖²) / (Σ (Jv_a · Jv_b)²), of which both are without bias and
        no more directions are needed for more inputs; the ratio scatters by some √8/k of itself at most.

    Returns
    -------
    Array
        [...]; 0 where the Jacobian is 0. With random directions rounding and chance may bring it below 1.

    Raises
    ------
    UsageError
        There are no matrices, values are not finite, or one random direction has no pair.

    Notes
    -----
    Cost: m·k² operations for each.

    Examples
    --------
    >>> float(local_rank(np.diag([3.0, 3.0, 0.0])))
    2.0
    >>> rng = np.random.default_rng(0)
    >>> J = rng.normal(size=(50, 10)) @ rng.normal(size=(10, 1000))
    >>> V = rng.normal(size=(1000, 64))
    >>> abs(local_rank(J @ V, random=True) / local_rank(J) - 1) < 0.1
    np.True_
    """
    shape = tuple(products.shape)
    if len(shape) < 2:
        raise UsageError("a Jacobian is a matrix", where=f"shape {shape}")
    if random and shape[-1] < 2:
        raise UsageError("random directions are compared in pairs", todo="Give two or more.")
    J = as_points(products, "products").reshape(shape)
    W = (J.mT @ J).cpu().numpy()
    squares = np.einsum("...aa->...a", W)
    above, below = squares.sum(axis=-1) ** 2, np.square(W).sum(axis=(-1, -2))
    if random:
        own = np.square(squares).sum(axis=-1)
        above, below = above - own, below - own
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > 0), dtype=np.float64)
