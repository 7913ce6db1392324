"""Eigenvalues of which those that are rounding are 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.linalg import gram_eigenvalues


def eigenvalues_told_from_zero(matrix: Tensor) -> NDArray[np.float64]:
    """Return the eigenvalues of WᵀW, ascending; 0 for those that rounding may have made."""
    return without_rounding(gram_eigenvalues(matrix), max(matrix.shape))


def without_rounding(eigenvalues: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return ascending eigenvalues with those of at most side · 2.2e-16 · λ_max set to 0.

    >>> without_rounding(np.array([1e-16, 0.5, 1.0]), 10).tolist()
    [0.0, 0.5, 1.0]
    """
    cut = side * float(np.finfo(np.float64).eps) * eigenvalues[-1]
    return np.where(eigenvalues > cut, eigenvalues, 0.0)
