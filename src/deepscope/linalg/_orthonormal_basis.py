"""Orthonormal vectors that grow by blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.linalg._linear_operator import LinearOperator

Floats = NDArray[np.float64]

# A direction that keeps less than this of its length when it is made orthogonal again is projected once more.
_KEPT = 0.5


@dataclass(frozen=True, eq=False)
class Expansion:
    """A block written in a basis: block = Vᵀ·inside + new·outside.

    Attributes
    ----------
    inside
        Coefficients of the vectors that the basis held, [size, b].
    outside
        Coefficients of the new orthonormal directions, [rank, b]: with full row rank, and none where the basis already
        spans the block up to ``floor``.
    directions
        The new directions, [n, rank].
    """

    inside: Floats
    outside: Floats
    directions: Tensor


class OrthonormalBasis:
    """Orthonormal vectors as the rows of one preallocated array, [capacity, n].

    Rows that are not yet used are not touched, so that on a CPU they take no memory.

    Attributes
    ----------
    size
        How many rows are in use.
    """

    def __init__(self, operator: LinearOperator, capacity: int) -> None:
        self._rows = torch.empty(capacity, operator.n, dtype=operator.dtype, device=operator.device)
        self.size = 0

    @property
    def room(self) -> int:
        """How many rows are free."""
        return len(self._rows) - self.size

    def rows(self, begin: int = 0) -> Tensor:
        """Return the vectors from ``begin`` on, [size − begin, n], as a view."""
        return self._rows[begin : self.size]

    def clear(self) -> None:
        """Forget all vectors."""
        self.size = 0

    def expand(self, block: Tensor, floor: float) -> Expansion:
        """Write a block [n, b] in the basis and in directions orthogonal to it; neither is changed.

        Block Gram–Schmidt: the block is projected and its rest factored, rest = QR, twice over. The first pass leaves
        an error of rounding over the rest's length, the second none ("twice is enough", ``giraud2005rounding``),
        unless it took most of a direction away: that was nearly all rounding, and is projected again or dropped.

        Parameters
        ----------
        block
            The vectors.
        floor
            Directions of the rest with a singular value of at most this are dropped.

        Raises
        ------
        MeasurementError
            The block holds values that are not finite.

        Notes
        -----
        Cost: 8·n·size·b operations in four passes over the basis; memory 3·n·b numbers.
        """
        V = self.rows()
        inside, outside = np.zeros((self.size, block.shape[1])), np.eye(block.shape[1])
        # As rows, which for few vectors is the fastest way through both products with the basis.
        directions, rounds = block.T.contiguous(), 0
        while True:
            coefficients = directions @ V.T
            # The block may be the operator's own memory, so that nothing is subtracted in place from it.
            rest = torch.addmm(directions, coefficients, V, alpha=-1, out=directions if rounds else None)
            Q, R = torch.linalg.qr(rest.T)
            triangle = _host(R)
            if not np.isfinite(triangle).all():
                raise MeasurementError("a product of the operator holds values that are not finite")
            inside += _host(coefficients).T @ outside
            U, s, Zt = np.linalg.svd(triangle @ outside)
            rank = min(int(np.sum(s > floor)), len(block) - self.size)
            directions, outside = self._device(U[:, :rank].T) @ Q.T, s[:rank, None] * Zt[:rank]
            settled = rounds > 0 and np.linalg.svd(triangle, compute_uv=False)[-1] > _KEPT
            if rank == 0 or settled:
                return Expansion(inside, outside, directions.T)
            rounds += 1

    def append(self, directions: Tensor) -> None:
        """Take in orthonormal directions [n, r], orthogonal to the basis."""
        end = self.size + directions.shape[1]
        self._rows[self.size : end] = directions.T
        self.size = end

    def combine(self, coordinates: Floats) -> Tensor:
        """Return linear combinations of the first vectors, [n, count], from coordinates [k, count], k ≤ size."""
        return self._rows[: len(coordinates)].T @ self._device(coordinates)

    def _device(self, array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._rows)


def _host(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu().numpy())
