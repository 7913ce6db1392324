"""The leading singular values of many matrices at once that are known only by their products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepscope.core import MeasurementError, UsageError

#: Of a product and its orthogonalisation, in units of ε·‖A‖.
_ROUNDING = 16.0
#: Steps between two looks at how far the values have come.
_BETWEEN = 3


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
        How many times the batch was multiplied with A; with Aᵀ once less.
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

    From a random v₁: α_j u_j = A v_j − β_{j−1} u_{j−1} and β_j v_{j+1} = Aᵀ u_j − α_j v_j, so that Uᵀ A V is
    bidiagonal; its singular values approach those of A, the largest first (``golub1965calculating``). The shorter of
    the two bases is kept orthogonal, which keeps the other one so (``simon2000low``). One product serves all matrices
    of the batch.

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
    space that is not exhausted is found once. Memory: min(m, n)·steps numbers in float64 for each matrix.

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
    if m < n:
        # A space that is the whole of the shorter side leaves nothing out.
        other = leading_singular_values(
            adjoint,
            product,
            (batch, n, m),
            count=count,
            generator=generator,
            tolerance=tolerance,
            max_basis=max_basis,
            epsilon=epsilon,
            device=device,
        )
        return replace(other, left=other.right, right=other.left)
    steps = min(least, max(max_basis, count))

    def drawn() -> Tensor:
        start = torch.randn(batch, n, generator=generator, device=generator.device, dtype=torch.float64)
        return start.to(device)

    run = _Bidiagonal(drawn, epsilon)
    v, _ = _normed(drawn())
    for step in range(1, steps + 1):
        u = run.take_left(product(v), v)
        v = run.take_right(adjoint(u), room=step < n)
        last = step == steps
        # A decomposition of all bidiagonal matrices may take as long as a product.
        if step >= count and (last or run.is_exhausted or step % _BETWEEN == 0):
            found = run.judged(count, whole=step == least)
            if last or found.is_within(tolerance):
                break
    right = run.right.combined(found.right)
    return LeadingSingularValues(
        values=found.values,
        residuals=found.residuals,
        errors=found.errors,
        # Instead of a basis of the longer side.
        left=_normed(_finite(product(right)))[0],
        right=right,
        converged=found.is_within(tolerance),
        n_products=step + 1,
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the bidiagonal matrices tell of the values; and their leading right singular vectors, [batch, steps]."""

    values: Tensor
    residuals: Tensor
    errors: Tensor
    right: Tensor

    def is_within(self, tolerance: float) -> bool:
        return bool((self.errors <= tolerance * self.values[:, :1]).all())


class _Bidiagonal:
    """The orthonormal basis of the shorter side, the last vector of the other, and what is bidiagonal between them."""

    def __init__(self, drawn: Callable[[], Tensor], epsilon: float) -> None:
        self._drawn, self._epsilon = drawn, epsilon
        self.right = _Basis()
        self._left = torch.zeros(())
        self.alphas: list[Tensor] = []
        self.betas: list[Tensor] = []
        #: Whether some matrix's products brought nothing new in the last step.
        self.is_exhausted = False

    def take_left(self, image: Tensor, v: Tensor) -> Tensor:
        """Take in v and A·v; return the new left vector."""
        self.right.append(v)
        if self.betas:
            image = image - self.betas[-1][:, None] * self._left
        u, alpha = _normed(_finite(image))
        self._left = u
        self.alphas.append(alpha)
        return u

    def take_right(self, image: Tensor, *, room: bool) -> Tensor:
        """Take in Aᵀ·u; return the next right vector."""
        image = _finite(image) - self.alphas[-1][:, None] * self.right.last
        v, beta = _normed(self.right.without(image))
        exhausted = beta <= _ROUNDING * self._epsilon * torch.stack(self.alphas).amax(0)
        self.is_exhausted = bool(exhausted.any())
        if room and self.is_exhausted:
            fresh, _ = _normed(self.right.without(self._drawn()))
            v = torch.where(exhausted[:, None], fresh, v)
            beta = torch.where(exhausted, 0.0, beta)
        self.betas.append(beta)
        return v

    def judged(self, count: int, *, whole: bool) -> _Judged:
        size = len(self.alphas)
        B = torch.diag_embed(torch.stack(self.alphas, 1))
        if size > 1:
            B = B + torch.diag_embed(torch.stack(self.betas[:-1], 1), offset=1)
        P, values, Qt = torch.linalg.svd(B)
        rounding = _ROUNDING * self._epsilon * values[:, :1]
        # The next right vector is zero when the space is the whole one.
        raw = torch.zeros_like(values) if whole else self.betas[-1][:, None] * P[:, -1].abs()
        apart = (values[:, :, None] - values[:, None]).abs() - (raw + rounding)[:, None]
        apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        gaps = apart.amin(2).clamp_min(0.0) if size > 1 else torch.zeros_like(values)
        errors = torch.where(gaps > raw, raw**2 / gaps.clamp_min(torch.finfo(torch.float64).tiny), raw) + rounding
        return _Judged(values[:, :count], (raw + rounding)[:, :count], errors[:, :count], Qt[:, 0])


class _Basis:
    """Vectors of a batch, [batch, size], one after another, in memory that doubles when it is full."""

    def __init__(self) -> None:
        self._size = 0
        self._store: Tensor | None = None

    @property
    def last(self) -> Tensor:
        assert self._store is not None
        return self._store[:, self._size - 1]

    def append(self, vector: Tensor) -> None:
        store = self._store
        if store is None or self._size == store.shape[1]:
            grown = vector.new_empty(len(vector), max(8, 2 * self._size), vector.shape[1])
            if store is not None:
                grown[:, : self._size] = store
            self._store = store = grown
        store[:, self._size] = vector
        self._size += 1

    def without(self, vector: Tensor) -> Tensor:
        """Return what of a vector is orthogonal to all."""
        if self._store is None:
            return vector
        V = self._store[:, : self._size]
        column = vector[:, :, None]
        # Twice is enough.
        for _ in range(2):
            column = torch.baddbmm(column, V.mT, V @ column, alpha=-1)
        return column[:, :, 0]

    def combined(self, coordinates: Tensor) -> Tensor:
        assert self._store is not None
        return (coordinates[:, None] @ self._store[:, : self._size])[:, 0]


def _normed(vector: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(vector, dim=1)
    # A matrix whose space is exhausted goes on with zeros, which change nothing.
    return vector / torch.where(length > 0, length, 1.0)[:, None], length


def _finite(vector: Tensor) -> Tensor:
    if not bool(torch.isfinite(vector).all()):
        raise MeasurementError("a product holds values that are not finite")
    return vector
