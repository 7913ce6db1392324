"""The angles between two subspaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError

Floats = NDArray[np.float64]


def principal_angles(U: NDArray[Any] | Tensor, V: NDArray[Any] | Tensor) -> Floats:
    """Return the principal angles between the spans of the columns of two matrices, in radians.

    With orthonormal bases Q and R of the two spans, R the one of fewer columns, the cosines are the singular values of
    QᵀR, the sines those of R − QQᵀR. An angle is the arctangent of its sine over its cosine: of a cosine alone, angles
    below 1e-8 would be lost in rounding.

    Parameters
    ----------
    U, V
        Bases, [n, p] and [n, q], of linearly independent columns; they need be neither orthogonal nor of length 1.

    Returns
    -------
    ndarray
        Of length min(p, q), ascending, from 0 to π/2; float64. For bases that are well conditioned the absolute error
        is a few multiples of 2.2e-16, also of the smallest angles.

    Raises
    ------
    UsageError
        The two are not matrices with as many rows, values are not finite, or columns are linearly dependent.

    Notes
    -----
    Cost: O(n·(p + q)²) operations; memory of the two bases, and of their orthonormal copies.
    Source: ``bjorck1973numerical``.

    Examples
    --------
    >>> axes = np.eye(3)
    >>> np.degrees(principal_angles(axes[:, :2], axes[:, 1:])).round(12).tolist()
    [0.0, 90.0]
    """
    first, second = _array(U), _array(V)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise UsageError(
            "angles are taken between the columns of two matrices with as many rows",
            where=f"shapes {list(first.shape)} and {list(second.shape)}",
        )
    Q, R = sorted((_orthonormal(first), _orthonormal(second)), key=lambda basis: -basis.shape[1])
    overlap = Q.T @ R
    cosines = np.linalg.svd(overlap, compute_uv=False)
    sines = np.linalg.svd(R - Q @ overlap, compute_uv=False)
    return np.asarray(np.arctan2(sines[::-1], cosines))


def _array(basis: NDArray[Any] | Tensor) -> Floats:
    return basis.detach().cpu().double().numpy() if isinstance(basis, Tensor) else np.asarray(basis, dtype=np.float64)


def _orthonormal(basis: Floats) -> Floats:
    if not np.isfinite(basis).all():
        raise UsageError("a basis holds values that are not finite")
    lengths = np.abs(basis).max(axis=0, initial=0.0)
    # Of columns of one size the rank does not depend on their units.
    if 0 in lengths or basis.shape[1] > basis.shape[0] or np.linalg.matrix_rank(basis / lengths) < basis.shape[1]:
        raise UsageError(
            "the columns of a basis are linearly dependent",
            where=f"shape {list(basis.shape)}",
            todo="Leave out those that the others span.",
        )
    return np.asarray(np.linalg.qr(basis / lengths).Q)
