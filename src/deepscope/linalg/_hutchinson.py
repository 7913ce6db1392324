"""Traces and diagonals from random signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError, UsageError
from deepscope.linalg._estimate import standard_error
from deepscope.linalg._linear_operator import LinearOperator
from deepscope.linalg._probes import rademacher
from deepscope.linalg._trace_estimate import TraceEstimate, check_budget, exact_diagonal, judged

Floats = NDArray[np.float64]

# A standard error from fewer draws is too rough to stop at: it is off by 1/√(2·draws), here 18 %.
_FEWEST_BEFORE_STOP = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class DiagonalEstimate:
    """An estimate of a diagonal.

    Attributes
    ----------
    value
        The entries, [n], float64, on the operator's device.
    stderr
        Their standard errors, [n].
    n_products
        How many vectors were multiplied with the operator.
    """

    value: Tensor
    stderr: Tensor
    n_products: int


def hutchinson(
    operator: LinearOperator,
    *,
    n_products: int,
    generator: torch.Generator,
    tolerance: float = 0.0,
    block_size: int = 1,
) -> TraceEstimate:
    """Estimate tr A by the mean of xᵀAx over vectors x of random signs.

    Unbiased, for any symmetric A, with a variance of 2·(‖A‖_F² − Σ a_ii²)/n_products. Signs have the smallest variance
    of all vectors with independent entries; Gaussian ones have 2·‖A‖_F².

    Parameters
    ----------
    operator
        A, [n, n].
    n_products
        Most products, at least 2. With n or more the diagonal is computed instead.
    generator
        For the signs; the result is a function of its state.
    tolerance
        Stop when the standard error is at most this share of the estimate, but not before 16 products; 0 uses all
        products. Stopping at the first chance favours a standard error that came out small: give the interval a
        margin, or use 0.
    block_size
        Products at a time. The signs are the same whatever it is; where a tolerance stops may differ.

    Returns
    -------
    TraceEstimate
        The standard error is that of the mean.

    Raises
    ------
    UsageError
        A number is out of range.
    MeasurementError
        A product is not finite.

    Notes
    -----
    Cost: the products. Memory: a few blocks, n × block_size. Where A is close to one of low rank, ``xtrace`` needs
    far fewer products, but keeps them.
    Source: ``hutchinson1989stochastic``.

    Examples
    --------
    >>> operator = LinearOperator.from_matrix(np.diag([1.0, 2.0, 3.0]) + 0.1)
    >>> round(hutchinson(operator, n_products=3, generator=torch.Generator().manual_seed(0)).value, 12)
    6.3
    """
    return hutchinson_blocks(
        operator,
        [operator.n],
        n_products=n_products,
        generator=generator,
        tolerance=tolerance,
        block_size=block_size,
    )[0]


def hutchinson_blocks(
    operator: LinearOperator,
    sizes: Sequence[int],
    *,
    n_products: int,
    generator: torch.Generator,
    tolerance: float = 0.0,
    block_size: int = 1,
) -> tuple[TraceEstimate, ...]:
    """Estimate the traces of consecutive diagonal blocks, such as the layers of a network, from the same products.

    Of block B the mean of Σ_{i∈B} xᵢ·(Ax)ᵢ, with a variance of Σ_{i∈B, j≠i} a_ij·(a_ij + a_ji·[j∈B])/n_products: the
    entries outside the block add to its noise, not to its mean.

    Parameters
    ----------
    operator, n_products, generator, block_size
        As for ``hutchinson``.
    sizes
        Of the blocks; their sum is n.
    tolerance
        As for ``hutchinson``, for every block.

    Returns
    -------
    tuple of TraceEstimate
        One for each block; the number of products is that of all together.

    Raises
    ------
    UsageError
        The sizes are not positive or their sum is not n, or as for ``hutchinson``.
    MeasurementError
        A product is not finite.

    Examples
    --------
    >>> operator = LinearOperator.from_matrix(np.diag([1.0, 2.0, 3.0]))
    >>> first, second = hutchinson_blocks(operator, [1, 2], n_products=2, generator=torch.Generator().manual_seed(0))
    >>> first.value, second.value
    (1.0, 5.0)
    """
    check_budget(n_products, 2, tolerance, block_size)
    if not sizes or min(sizes) < 1 or sum(sizes) != operator.n:
        raise UsageError("the blocks do not make up the diagonal", where=f"{sum(sizes)} of {operator.n} entries")
    if n_products >= operator.n:
        parts = torch.split(exact_diagonal(operator, block_size), list(sizes))
        return tuple(judged(float(part.sum()), 0.0, operator.n, 0.0) for part in parts)
    draws = np.empty((0, len(sizes)))
    while len(draws) < n_products:
        signs = rademacher(operator, min(block_size, n_products - len(draws)), generator)
        terms = torch.mul(operator.matmat(signs), signs, out=signs)
        sums = torch.stack([part.sum(dim=0, dtype=torch.float64) for part in torch.split(terms, list(sizes))], dim=1)
        draws = np.concatenate([draws, sums.cpu().numpy()])
        if tolerance and len(draws) >= _FEWEST_BEFORE_STOP and _within(draws, tolerance):
            break
    return tuple(
        judged(float(value), float(error), len(draws), tolerance)
        for value, error in zip(draws.mean(axis=0), standard_error(draws), strict=True)
    )


def _within(draws: Floats, tolerance: float) -> bool:
    return bool((standard_error(draws) <= tolerance * np.abs(draws.mean(axis=0))).all())


def hutchinson_diagonal(
    operator: LinearOperator, *, n_products: int, generator: torch.Generator, block_size: int = 1
) -> DiagonalEstimate:
    """Estimate the diagonal of A by the mean of x∘Ax over vectors x of random signs.

    Unbiased; entry i has a variance of Σ_{j≠i} a_ij²/n_products.

    Parameters
    ----------
    operator
        A, [n, n].
    n_products
        At least 2. With n or more the diagonal is computed instead.
    generator
        For the signs; the result is a function of its state.
    block_size
        Products at a time.

    Returns
    -------
    DiagonalEstimate
        The errors of different entries are correlated: for sums of entries use ``hutchinson_blocks``.

    Raises
    ------
    UsageError
        A number is out of range.
    MeasurementError
        A product is not finite.

    Notes
    -----
    Memory: 2·n numbers in float64 beside the blocks. Source: ``bekas2007estimator``.

    Examples
    --------
    >>> operator = LinearOperator.from_matrix(np.diag([1.0, 2.0, 3.0]))
    >>> hutchinson_diagonal(operator, n_products=2, generator=torch.Generator().manual_seed(0)).value.tolist()
    [1.0, 2.0, 3.0]
    """
    check_budget(n_products, 2, 0.0, block_size)
    if n_products >= operator.n:
        exact = exact_diagonal(operator, block_size)
        return DiagonalEstimate(value=exact, stderr=torch.zeros_like(exact), n_products=operator.n)
    mean = torch.zeros(operator.n, dtype=torch.float64, device=operator.device)
    squares = torch.zeros_like(mean)
    done = 0
    while done < n_products:
        signs = rademacher(operator, min(block_size, n_products - done), generator)
        for term in torch.mul(operator.matmat(signs), signs, out=signs).T:
            done += 1
            # Welford's update: the sum of squares about the mean loses nothing to cancellation.
            off = term - mean
            mean.add_(off, alpha=1 / done)
            squares.addcmul_(off, term - mean)
    if not bool(torch.isfinite(mean).all()):
        raise MeasurementError("a product of the operator holds values that are not finite")
    return DiagonalEstimate(value=mean, stderr=squares.div_(done * (done - 1)).sqrt_(), n_products=done)
