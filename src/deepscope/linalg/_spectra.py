"""Eigenvalues of WᵀW, and the ranks that are read off them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError

Floats = NDArray[np.float64]

# The longer side is worked off in pieces of this size (at least four times the shorter side, so that the product
# stays as fast as in one piece): a tall embedding needs no copy of itself in float64.
_PIECE = 8192


def gram_eigenvalues(W: NDArray[Any] | Tensor) -> Floats:
    """Return the eigenvalues of the smaller of WWᵀ and WᵀW: the squares of W's singular values.

    Computed in float64 whatever the dtype; a tensor stays on its device. W is scaled by a power of two before it is
    squared, so that neither tiny nor huge entries are lost.

    Parameters
    ----------
    W
        A matrix, [rows, cols], of any floating-point dtype.

    Returns
    -------
    ndarray
        Ascending, of length min(rows, cols), none below 0. An eigenvalue is accurate to about eps · λ_max, so that
        those below max(rows, cols) · eps · λ_max cannot be told from 0.

    Raises
    ------
    UsageError
        W is not a matrix or is empty.
    MeasurementError
        W holds values that are not finite, its eigenvalues are too large or too small for float64, or the
        solver did not converge.

    Notes
    -----
    Cost for s ≤ l sides: s²·l + 4/3·s³ operations, a third of a singular value decomposition in practice; memory
    min(l, max(8192, 4·s))·s + 2·s² numbers beside W.

    Examples
    --------
    >>> gram_eigenvalues(np.diag([1.0, 3.0, 2.0])).round(12).tolist()
    [1.0, 4.0, 9.0]
    """
    matrix = W.detach() if isinstance(W, Tensor) else torch.from_numpy(np.ascontiguousarray(W))
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise UsageError("eigenvalues are taken of a matrix that is not empty", where=f"shape {list(matrix.shape)}")
    if matrix.dtype not in (torch.float32, torch.float64):
        # Half and 8-bit types lack most operations; float32 holds them exactly.
        matrix = matrix.float()
    exponent = _exponent(matrix)
    if exponent is None:
        return np.zeros(min(matrix.shape))
    pieces = _pieces(matrix, 2.0**-exponent)
    try:
        values = _on_device(pieces) if matrix.device.type != "cpu" else _on_cpu(pieces)
    except np.linalg.LinAlgError as error:
        raise MeasurementError("the eigenvalue solver did not converge") from error
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(np.maximum(values, 0.0), 2 * exponent)
    if not np.isfinite(values[-1]) or values[-1] < np.finfo(np.float64).tiny:
        raise MeasurementError("the squares of these values do not fit into float64")
    return values


def _exponent(matrix: Tensor) -> int | None:
    """Return the power of two of the largest absolute value; None for a matrix of zeros."""
    low, high = (float(each) for each in torch.aminmax(matrix))
    largest = max(-low, high)
    if not math.isfinite(largest):
        raise MeasurementError("the matrix holds values that are not finite")
    return math.frexp(largest)[1] if largest else None


def _pieces(matrix: Tensor, scale: float) -> Iterator[Tensor]:
    """Yield the matrix in float64, scaled, the shorter side first, in pieces along the longer side."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    step = max(_PIECE, 4 * tall.shape[1])
    for begin in range(0, tall.shape[0], step):
        yield tall[begin : begin + step].to(torch.float64, copy=True).mul_(scale).T


def _on_cpu(pieces: Iterator[Tensor]) -> Floats:
    # NumPy sees that both factors are the same and computes half of the product; torch does not.
    products = (part @ part.T for part in (piece.numpy() for piece in pieces))
    gram = next(products)
    for product in products:
        gram += product
    return np.asarray(np.linalg.eigvalsh(gram))


def _on_device(pieces: Iterator[Tensor]) -> Floats:
    first = next(pieces)
    gram = first @ first.T
    for piece in pieces:
        gram.addmm_(piece, piece.T)
    return np.asarray(torch.linalg.eigvalsh(gram).cpu().numpy())


def stable_rank(eigenvalues: Floats) -> float:
    """Return ‖W‖_F² / ‖W‖₂²: the sum of the eigenvalues of WᵀW over the largest; between 1 and the rank.

    >>> stable_rank(np.array([0.0, 1.0, 4.0]))
    1.25
    """
    return float(np.sum(eigenvalues) / _largest(eigenvalues))


def effective_rank(eigenvalues: Floats) -> float:
    """Return exp(−Σ p ln p) with p = σ / Σσ over the singular values; between 1 and the rank.

    Takes the eigenvalues of WᵀW, σ². Source: ``roy2007effective``.

    >>> round(effective_rank(np.array([0.0, 9.0, 9.0])), 12)
    2.0
    """
    sigma = np.sqrt(eigenvalues / _largest(eigenvalues))
    p = sigma[sigma > 0] / sigma.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def _largest(eigenvalues: Floats) -> float:
    largest = float(np.max(eigenvalues))
    if not largest > 0:
        raise MeasurementError("a matrix of zeros has no rank to measure")
    return largest
