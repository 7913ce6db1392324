"""A symmetric matrix known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError


class LinearOperator:
    """A real symmetric matrix A, [n, n], that is known only by its products with blocks of vectors.

    Parameters
    ----------
    product
        Takes a block [n, b] and returns A·block, [n, b]. The block may be a transposed view, and must be left as it is.
        That A is symmetric is not checked here; ``block_lanczos`` and ``lanczos_quadrature`` find out when it is not.
    n
        Number of rows, at least 1.
    dtype
        Of the blocks: torch.float32 or torch.float64.
    device
        Where the blocks lie.

    Attributes
    ----------
    n, dtype, device
        As given.
    n_products
        How many vectors A has been multiplied with so far: a block of b counts b.

    Raises
    ------
    UsageError
        The size is not positive, or the dtype is another one.

    Examples
    --------
    The Hessian of Σᵢ xᵢ⁴/12, at x = (1, 2), without writing it down:

    >>> operator = LinearOperator(lambda block: torch.tensor([[1.0], [4.0]]) * block, 2, dtype=torch.float32)
    >>> operator.matmat(torch.eye(2)).tolist(), operator.n_products
    ([[1.0, 0.0], [0.0, 4.0]], 2)
    """

    def __init__(
        self, product: Callable[[Tensor], Tensor], n: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        if n < 1:
            raise UsageError("an operator acts on at least one number", where=f"n = {n}")
        if dtype not in (torch.float32, torch.float64):
            raise UsageError(
                "vectors cannot be kept orthogonal in this dtype",
                where=str(dtype),
                todo="Use torch.float32 or torch.float64, and convert inside the product.",
            )
        self._product = product
        self.n, self.dtype, self.device = n, dtype, torch.device(device)
        self.n_products = 0

    @classmethod
    def from_matrix(cls, A: NDArray[Any] | Tensor) -> LinearOperator:
        """Return the operator of a symmetric matrix, in its own dtype and on its own device.

        Raises
        ------
        UsageError
            A is not square or is empty, its dtype is neither float32 nor float64, or A and Aᵀ differ by more than
            √ε·max|A|.

        Examples
        --------
        >>> LinearOperator.from_matrix(np.eye(3)).dtype
        torch.float64
        """
        matrix = A.detach() if isinstance(A, Tensor) else torch.from_numpy(np.ascontiguousarray(A))
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise UsageError("an operator is made of a square matrix", where=f"shape {list(matrix.shape)}")
        operator = cls(matrix.__matmul__, len(matrix), dtype=matrix.dtype, device=matrix.device)
        # What is not finite is left for the product to show.
        if (matrix - matrix.T).abs().max() > torch.finfo(matrix.dtype).eps ** 0.5 * matrix.abs().max():
            raise UsageError("the matrix is not symmetric", todo="Give (A + A.T) / 2 if that is what is meant.")
        return operator

    def matmat(self, block: Tensor) -> Tensor:
        """Return A·block, [n, b], detached; it may share memory with the block.

        Raises
        ------
        UsageError
            The block, or what the product returned, is not of the operator's size, dtype or device.
        """
        self._check("the block", block, block)
        self.n_products += block.shape[1]
        result = self._product(block).detach()
        self._check("what the product returned", result, block)
        return result

    def _check(self, name: str, given: Tensor, block: Tensor) -> None:
        wanted = (self.n, block.shape[-1])
        if tuple(given.shape) != wanted or given.dtype != self.dtype or given.device.type != self.device.type:
            raise UsageError(
                f"{name} is not a block of this operator",
                where=f"{given.dtype} {list(given.shape)} on {given.device}",
                todo=f"It should be {self.dtype} {list(wanted)} on {self.device}.",
            )
