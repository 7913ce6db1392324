"""The leading singular values of many matrices at once that are known only by their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import MeasurementError, UsageError

#: Of a product and its orthogonalisation, in units of ε·‖A‖.
_ROUNDING = 16.0


@dataclass(frozen=True, eq=False, kw_only=True)
class LeadingSingularValues:
    """The leading singular values of each matrix of a batch, descending.

    Attributes
    ----------
    values
        θ, [batch, k], float64: never above the singular value in the same place but for rounding.
    residuals
        ‖Aᵀp − θq‖ for the approximate singular vectors p and q, with an allowance for rounding, [batch, k]: a singular
        value of A certainly lies as close to θ as this.
    errors
        Bound on σ − θ, [batch, k]: the residual, or the smaller r²/gap where the gap to the other approximate values
        exceeds it. That one holds if no other singular value lies within the gap.
    left, right
        The leading singular vectors of each, [batch, m] and [batch, n].
    converged
        Whether all errors are within the tolerance.
    n_products
        How many times the batch was multiplied with A, and as many times with Aᵀ.
    """

    values: Tensor
    residuals: Tensor
    errors: Tensor
    left: Tensor
    right: Tensor
    converged: bool
    n_products: int


def leading_singular_values(
    product: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    *,
    count: int = 1,
    generator: torch.Generator,
    tolerance: float = 1e-5,
    max_basis: int = 60,
    epsilon: float = 2.0**-52,
    device: torch.device | str = "cpu",
) -> LeadingSingularValues:
    """Return the leading singular values of a batch of matrices A_b by Golub–Kahan–Lanczos bidiagonalisation.

    From a random v₁: α_j u_j = A v_j − β_{j−1} u_{j−1} and β_j v_{j+1} = Aᵀ u_j − α_j v_j, with full
    reorthogonalisation, so that Uᵀ A V is bidiagonal; its singular values approach those of A, the largest first
    (``golub1965calculating``). One product serves all matrices of the batch.

    Parameters
    ----------
    product, adjoint
        A_b v_b of [batch, n] → [batch, m], and A_bᵀ u_b of [batch, m] → [batch, n]; float64 in and out.
    shape
        (batch, m, n).
    count
        How many singular values of each, at most min(m, n).
    generator
        For the start; the result is a function of its state.
    tolerance
        Stop when every error is at most this share of the largest value of its matrix.
    max_basis
        Most products with A, at least ``count``.
    epsilon
        Rounding of the products, for the allowance of 16·ε·‖A‖: that of float32 where they are made in it. A tolerance
        below it is never reached.
    device
        Where the vectors lie.

    Returns
    -------
    LeadingSingularValues
        Where the basis was full before all had converged, the values as they then were.

    Raises
    ------
    UsageError
        ``count`` is out of range.
    MeasurementError
        A product is not finite.

    Notes
    -----
    Where products bring nothing new a fresh random vector goes on in the complement; a repeated singular value of a
    space that is not exhausted is found once. Memory: (m + n)·steps numbers in float64 for each matrix.

    Examples
    --------
    >>> A = torch.diag(torch.arange(1.0, 101.0, dtype=torch.float64))[None]
    >>> found = leading_singular_values(
    ...     lambda v: (A @ v[..., None])[..., 0], lambda u: (A.mT @ u[..., None])[..., 0], (1, 100, 100), count=2,
    ...     generator=torch.Generator().manual_seed(0))
    >>> found.values.round(decimals=2).tolist(), found.converged
    ([[100.0, 99.0]], True)
    """
    batch, m, n = shape
    least = min(m, n)
    if not 1 <= count <= least:
        raise UsageError(f"a matrix of {m} × {n} has 1 to {least} singular values", where=f"count={count}")
    steps = min(least, max(max_basis, count))

    def drawn() -> Tensor:
        start = torch.randn(batch, n, generator=generator, device=generator.device, dtype=torch.float64)
        return start.to(device)

    run = _Bidiagonal(drawn)
    v, _ = _normed(drawn())
    for step in range(1, steps + 1):
        u = run.take_left(product(v), v)
        v = run.take_right(adjoint(u), room=step < n)
        found = run.judged(min(count, step), epsilon, tolerance, whole=step == least)
        if step >= count and found.converged:
            break
    return found


class _Bidiagonal:
    """The two orthonormal bases of a batch, and what is bidiagonal between them."""

    def __init__(self, drawn: Callable[[], Tensor]) -> None:
        self._drawn = drawn
        self.left: list[Tensor] = []
        self.right: list[Tensor] = []
        self.alphas: list[Tensor] = []
        self.betas: list[Tensor] = []

    def take_left(self, image: Tensor, v: Tensor) -> Tensor:
        """Take in v and A·v; return the new left vector."""
        self.right.append(v)
        u, alpha = _normed(_orthogonal(_finite(image), self.left))
        self.left.append(u)
        self.alphas.append(alpha)
        return u

    def take_right(self, image: Tensor, *, room: bool) -> Tensor:
        """Take in Aᵀ·u; return the next right vector."""
        v, beta = _normed(_orthogonal(_finite(image), self.right))
        largest = torch.stack(self.alphas).amax(0)
        exhausted = beta <= _ROUNDING * torch.finfo(torch.float64).eps * largest
        if room and bool(exhausted.any()):
            fresh, _ = _normed(_orthogonal(self._drawn(), self.right))
            v = torch.where(exhausted[:, None], fresh, v)
            beta = torch.where(exhausted, 0.0, beta)
        self.betas.append(beta)
        return v

    def judged(self, count: int, epsilon: float, tolerance: float, *, whole: bool) -> LeadingSingularValues:
        size = len(self.alphas)
        B = torch.diag_embed(torch.stack(self.alphas, 1))
        if size > 1:
            B = B + torch.diag_embed(torch.stack(self.betas[:-1], 1), offset=1)
        P, values, Qt = torch.linalg.svd(B)
        rounding = _ROUNDING * epsilon * values[:, :1]
        # The next right vector is zero when the space is the whole one.
        raw = torch.zeros_like(values) if whole else self.betas[-1][:, None] * P[:, -1].abs()
        apart = (values[:, :, None] - values[:, None]).abs() - (raw + rounding)[:, None]
        apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        gaps = apart.amin(2).clamp_min(0.0) if size > 1 else torch.zeros_like(values)
        errors = torch.where(gaps > raw, raw**2 / gaps.clamp_min(torch.finfo(torch.float64).tiny), raw) + rounding
        errors = errors[:, :count]
        return LeadingSingularValues(
            values=values[:, :count],
            residuals=(raw + rounding)[:, :count],
            errors=errors,
            left=torch.einsum("jbm,bj->bm", torch.stack(self.left), P[:, :, 0]),
            right=torch.einsum("jbn,bj->bn", torch.stack(self.right), Qt[:, 0]),
            converged=bool((errors <= tolerance * values[:, :1]).all()),
            n_products=size,
        )


def _orthogonal(vector: Tensor, basis: list[Tensor]) -> Tensor:
    if not basis:
        return vector
    V = torch.stack(basis, 1)
    # Twice is enough.
    for _ in range(2):
        vector = vector - torch.einsum("bjn,bj->bn", V, torch.einsum("bjn,bn->bj", V, vector))
    return vector


def _normed(vector: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(vector, dim=1)
    # A matrix whose space is exhausted goes on with zeros, which change nothing.
    return vector / torch.where(length > 0, length, 1.0)[:, None], length


def _finite(vector: Tensor) -> Tensor:
    if not bool(torch.isfinite(vector).all()):
        raise MeasurementError("a product holds values that are not finite")
    return vector
