"""Traces by splitting off a low-rank part."""

from __future__ import annotations

import numpy as np
import torch

from deepscope.linalg._estimate import standard_error
from deepscope.linalg._linear_operator import LinearOperator
from deepscope.linalg._orthonormal_basis import OrthonormalBasis
from deepscope.linalg._probes import gaussian, rademacher
from deepscope.linalg._trace_estimate import TraceEstimate, check_budget, exact_trace, judged


def hutch_plus_plus(
    operator: LinearOperator, *, n_products: int, generator: torch.Generator, block_size: int = 1
) -> TraceEstimate:
    """Estimate tr A by Hutch++: exactly on the range of a sketch, by random signs on the rest.

    A third of the products sketch: Q is an orthonormal basis of A·S for a Gaussian S (signs can be parallel where A
    touches few entries). Another third gives tr QᵀAQ, and what is left the mean of gᵀ(I − QQᵀ)A(I − QQᵀ)g over
    vectors g of random signs. Unbiased; for a positive semidefinite A the relative error falls as 1/n_products rather
    than with its root.

    Parameters
    ----------
    operator
        A, [n, n].
    n_products
        At least 4. With n or more the diagonal is computed instead.
    generator
        For the vectors; the result is a function of its state.
    block_size
        Products at a time.

    Returns
    -------
    TraceEstimate
        The standard error is that of the mean over g: given Q there is no other.

    Raises
    ------
    UsageError
        A number is out of range.
    MeasurementError
        A product is not finite.

    Notes
    -----
    Cost: the products, and 8·n·k² operations for k = n_products/3. Memory: n × k numbers of the operator's dtype, and
    a few blocks. ``xtrace`` gets more out of the same products.
    Source: ``meyer2021hutch``.

    Examples
    --------
    >>> operator = LinearOperator.from_matrix(np.diag([3.0, 2.0] + [0.0] * 98))
    >>> estimate = hutch_plus_plus(operator, n_products=12, generator=torch.Generator().manual_seed(0))
    >>> round(estimate.value, 9), round(estimate.stderr, 9)
    (5.0, 0.0)
    """
    check_budget(n_products, 4, 0.0, block_size)
    if n_products >= operator.n:
        return exact_trace(operator, block_size)
    sketched = n_products // 3
    basis = OrthonormalBasis(operator, sketched)
    for begin in range(0, sketched, block_size):
        product = operator.matmat(gaussian(operator, min(block_size, sketched - begin), generator))
        basis.append(basis.expand(product, _rounding(operator, product)).directions)
    inside = 0.0
    for Q in torch.split(basis.rows(), block_size):
        inside += float(torch.sum(operator.matmat(Q.T) * Q.T, dtype=torch.float64))
    left = n_products - sketched - basis.size
    draws = np.empty(0)
    while len(draws) < left:
        g = rademacher(operator, min(block_size, left - len(draws)), generator)
        g.sub_(basis.rows().T @ (basis.rows() @ g))
        terms = torch.sum(operator.matmat(g) * g, dim=0, dtype=torch.float64)
        draws = np.concatenate([draws, terms.cpu().numpy()])
    return judged(inside + float(draws.mean()), float(standard_error(draws)), n_products, 0.0)


def _rounding(operator: LinearOperator, product: torch.Tensor) -> float:
    return float(torch.finfo(operator.dtype).eps * torch.linalg.vector_norm(product, dim=0).max())
