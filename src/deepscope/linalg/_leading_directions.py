"""The leading singular vectors of a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError

Floats = NDArray[np.float64]

#: Directions that rounding may have turned by more than this, in radians, are not defined.
_LARGEST_ERROR = 0.01


@dataclass(frozen=True, eq=False, kw_only=True)
class LeadingDirections:
    """Orthonormal bases of the spans of the k leading singular vectors, and how far rounding may have turned them.

    Attributes
    ----------
    left, right
        [rows, k] and [cols, k], float64, the largest singular value's first, each pair with uᵀWv > 0.
    error
        Bound on the angle between a span and the true one, in radians: max(rows, cols)·ε·λ₁/(λ_k − λ_{k+1}).
    """

    left: Floats
    right: Floats
    error: float


def leading_directions(W: NDArray[Any] | Tensor, k: int) -> LeadingDirections:
    """Return the spans of the k leading left and right singular vectors of a matrix.

    Those of the shorter side are the leading eigenvectors of the smaller Gram matrix; W takes them to the longer side.
    The k + 1 largest eigenvalues λ are computed, since a span is defined only where λ_k can be told from λ_{k+1}: an
    error E of the Gram matrix, here at most max(rows, cols)·ε·λ₁ with ε = 2.2e-16, turns it by at most
    ‖E‖/(λ_k − λ_{k+1}), to leading order.

    Parameters
    ----------
    W
        A matrix, [rows, cols], of any floating-point dtype.
    k
        How many, from 1 to min(rows, cols).

    Returns
    -------
    LeadingDirections
        In float64 and on the CPU, whatever the dtype and the device.

    Raises
    ------
    UsageError
        W is not a matrix or is empty, or k is out of range.
    MeasurementError
        W holds only zeros or values that are not finite, λ_k equals λ_{k+1} up to rounding, so that any rotation of
        their vectors would do as well, or the solver did not converge.

    Notes
    -----
    Cost for sides s ≤ l: s²·l + 4/3·s³ + O(k·s·(s + l)) operations, as for the eigenvalues alone; memory
    s·l + s² + 3·k·l numbers beside W.
    Source of the bound: ``davis1970rotation``.

    Examples
    --------
    >>> directions = leading_directions(np.diag([1.0, 3.0, 2.0]), 1)
    >>> np.abs(directions.left[:, 0]).round(12).tolist()
    [0.0, 1.0, 0.0]
    """
    wide, tall = _oriented(W)
    short, long = wide.shape
    if not 1 <= k <= short:
        raise UsageError("no such number of directions", where=str(k), todo=f"Give 1 to {short}, the smaller side.")
    values, vectors = _leading(_gram(wide), min(k + 1, short))
    gap = float(values[k - 1]) - (float(values[k]) if k < short else 0.0)
    rounding = long * float(np.finfo(np.float64).eps) * float(values[0])
    if gap * _LARGEST_ERROR <= rounding:
        raise MeasurementError(
            f"singular value {k} cannot be told from the next" if k < short else f"singular value {k} is zero"
        )
    here = np.ascontiguousarray(vectors[:, :k])
    carried = (wide.T @ torch.from_numpy(here).to(wide.device)).cpu().numpy()
    # Rounding leaves the images of orthogonal vectors not quite orthogonal.
    there, turned = np.linalg.qr(carried)
    there = there * np.where(np.diag(turned) < 0, -1.0, 1.0)
    left, right = (there, here) if tall else (here, there)
    return LeadingDirections(left=left, right=right, error=rounding / gap)


def _oriented(W: NDArray[Any] | Tensor) -> tuple[Tensor, bool]:
    """Return the matrix with its shorter side first, in float64 and scaled, and whether that transposed it."""
    matrix = W.detach() if isinstance(W, Tensor) else torch.from_numpy(np.ascontiguousarray(W))
    if matrix.ndim != 2 or matrix.numel() == 0:
        raise UsageError("directions are those of a matrix that is not empty", where=f"shape {list(matrix.shape)}")
    scaled = matrix.to(torch.float64, copy=True)
    largest = max(-float(scaled.min()), float(scaled.max()))
    if not math.isfinite(largest):
        raise MeasurementError("the matrix holds values that are not finite")
    if largest == 0:
        raise MeasurementError("all values are zero")
    # By a power of two, which is exact: the squares of tiny or huge entries would be lost.
    scaled.mul_(2.0 ** -math.frexp(largest)[1])
    tall = scaled.shape[0] > scaled.shape[1]
    return (scaled.T if tall else scaled), tall


def _gram(wide: Tensor) -> Floats:
    if wide.device.type != "cpu":
        return np.asarray((wide @ wide.T).cpu().numpy())
    # NumPy sees that both factors are the same and computes half of the product; torch does not.
    array = wide.numpy()
    return np.asarray(array @ array.T)


def _leading(gram: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues, descending, and their vectors."""
    size = len(gram)
    try:
        values, vectors = scipy.linalg.eigh(gram, subset_by_index=(size - count, size - 1), overwrite_a=True)
    except np.linalg.LinAlgError as error:
        raise MeasurementError("the eigenvalue solver did not converge") from error
    return values[::-1], vectors[:, ::-1].copy()
