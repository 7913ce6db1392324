"""Spectra of Gaussian noise, drawn without a matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from deepscope.core import MeasurementError

Floats = NDArray[np.float64]


def random_gram_eigenvalues(rows: int, cols: int, rng: np.random.Generator, n_matrices: int = 1) -> Floats:
    """Draw the eigenvalues of WᵀW for matrices whose entries are independent normal values of variance 1.

    With s ≤ l the two sides, reflections turn W into a lower bidiagonal matrix B whose entries are independent: the
    diagonal χ_l, χ_{l−1}, …, χ_{l−s+1}, and χ_{s−1}, …, χ_1 below it. The eigenvalues of the tridiagonal BBᵀ have
    exactly the law of those of the smaller Gram matrix. Source: ``dumitriu2002matrix``.

    Parameters
    ----------
    rows, cols
        Shape of the matrices.
    rng
        Where the entries come from.
    n_matrices
        How many independent matrices.

    Returns
    -------
    ndarray
        [n_matrices, min(rows, cols)], ascending along the second axis, none below 0.

    Notes
    -----
    Cost: O(s²) operations and O(s) memory a matrix, against s²·l + 4/3·s³ and s·l of a dense draw.

    Examples
    --------
    >>> values = random_gram_eigenvalues(2000, 1000, np.random.default_rng(0))
    >>> values.shape, bool(abs(values.mean() / 2000 - 1) < 0.01)
    ((1, 1000), True)
    """
    short, long = sorted((rows, cols))
    diagonal = rng.chisquare(np.arange(long, long - short, -1), size=(n_matrices, short))
    below = rng.chisquare(np.arange(short - 1, 0, -1), size=(n_matrices, short - 1))
    beside = np.sqrt(diagonal[:, :-1] * below)
    diagonal[:, 1:] += below
    values = np.empty_like(diagonal)
    for i in range(n_matrices):
        values[i] = _tridiagonal(diagonal[i], beside[i])
    return values


def _tridiagonal(diagonal: Floats, beside: Floats) -> Floats:
    # SciPy's eigvalsh_tridiagonal takes three times as long on the smallest matrices, checking its arguments.
    values, info = lapack.dsterf(diagonal, beside) if beside.size else (diagonal, 0)
    if info:
        raise MeasurementError("the eigenvalue solver did not converge")
    return np.maximum(values, 0.0)
