"""Item embeddings by linear factorisation of a matrix of users and items, under two penalties (``steck2024cosine``).

X, [users, items], is approximated by X A Bᵀ. The rows of B are the items' embeddings, those of X A the users'. With
G = XᵀX and X = U S Vᵀ the loss |X − X A Bᵀ|² depends on X through G alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

#: λ|A Bᵀ|², which holds for A C and B C⁻ᵀ with every invertible C; and λ(|X A|² + |B|²), which leaves rotations alone.
PENALTIES = ("product", "separate")
#: Of the separate norms, in units of the smallest singular value that is kept: none is lost, which happens at 1.
_SEPARATE_STRENGTH = 0.3
#: L-BFGS: steps whose curvature it remembers, and the gradient at which it stops, of a loss that starts at about 1.
_MEMORY = 50
_SMALLEST_GRADIENT = 1e-11


@dataclass(frozen=True, eq=False)
class Factors:
    """A and B, both [items, rank]."""

    left: Floats
    right: Floats

    @property
    def predictions(self) -> Floats:
        """A Bᵀ, [items, items]: what is predicted for a user is his row of X times this."""
        product: Floats = self.left @ self.right.T
        return product

    def rescaled(self, scales: Floats) -> Factors:
        """Return A D and B D⁻¹ for a diagonal D, [rank]."""
        return Factors(self.left * scales, self.right / scales)

    def rotated(self, rotation: Floats) -> Factors:
        """Return A R and B R for an orthogonal R, [rank, rank]."""
        return Factors(self.left @ rotation, self.right @ rotation)


def closed_form(singular_values: Floats, directions: Floats, penalty: str, strength: float) -> Factors:
    """Return the optimum, with A and B balanced: the product's singular values are shared as the penalty has it.

    Product: A = B = V Λ^½ with Λ = 1/(1 + λ/s²). Separate: A = V (Λ/s)^½, B = V (Λ s)^½ with Λ = max(1 − λ/s, 0).

    Parameters
    ----------
    singular_values
        [rank], the largest of X.
    directions
        [items, rank], V.
    penalty
        One of ``PENALTIES``.
    strength
        λ.
    """
    if penalty == "product":
        half = directions * np.sqrt(1 / (1 + strength / singular_values**2))
        return Factors(half, half)
    kept = np.maximum(1 - strength / singular_values, 0)
    return Factors(directions * np.sqrt(kept / singular_values), directions * np.sqrt(kept * singular_values))


def strength(singular_values: Floats, penalty: str) -> float:
    """Return the λ that is used: at λ = s² the product's norm halves a direction, the separate ones lose it at λ = s.

    The weakest direction that is kept is halved, or loses 0.3 of itself.
    """
    weakest = float(singular_values[-1])
    return weakest**2 if penalty == "product" else _SEPARATE_STRENGTH * weakest


def alternating(gram: Floats, penalty: str, strength: float, start: Floats, steps: int) -> Factors:
    """Minimise over A for given B, exactly, then over B for given A, and so on, from B = ``start``.

    Notes
    -----
    Two solutions of [rank, rank] equations and four products of [items, items] and [items, rank] a step.
    """
    left, right = start, start
    product = penalty == "product"
    shrunk = _over(gram, gram + strength * np.eye(len(gram)))
    ridge = strength * np.eye(start.shape[1])
    for _ in range(steps):
        left = _over(shrunk @ right, right.T @ right) if product else _over(right, right.T @ right + ridge)
        seen = gram @ left
        right = _over(seen, left.T @ seen + (strength * left.T @ left if product else ridge))
    return Factors(left, right)


def _over(rows: Floats, symmetric: Floats) -> Floats:
    """Return rows times the inverse of a symmetric matrix."""
    return np.asarray(np.linalg.solve(symmetric, rows.T), dtype=np.float64).T


def descended(gram: Floats, penalty: str, strength: float, start: Factors, steps: int) -> Factors:
    """Train A and B together by L-BFGS, with at most so many steps."""
    shape = (2, *start.left.shape)

    def scaled(flat: Floats) -> tuple[float, Floats]:
        loss, gradient = loss_and_gradient(gram, penalty, strength, *flat.reshape(shape))
        return loss / np.trace(gram), gradient.ravel() / np.trace(gram)

    found = minimize(
        scaled,
        np.stack([start.left, start.right]).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": steps,
            "maxfun": 10 * steps,
            "ftol": 0.0,
            "gtol": _SMALLEST_GRADIENT,
            "maxcor": _MEMORY,
        },
    )
    return Factors(*found.x.reshape(shape))


def loss_and_gradient(gram: Floats, penalty: str, strength: float, left: Floats, right: Floats) -> tuple[float, Floats]:
    """Return |X − X A Bᵀ|² with its penalty, and its gradient in A and in B, [2, items, rank]."""
    product = left @ right.T
    missing = product - np.eye(len(gram))
    seen = gram @ missing
    loss = float(np.vdot(missing, seen))
    if penalty == "product":
        loss += strength * float(np.vdot(product, product))
        slope = 2 * (seen + strength * product)
        return loss, np.stack([slope @ right, slope.T @ left])
    users = gram @ left
    loss += strength * float(np.vdot(left, users) + np.vdot(right, right))
    slopes = 2 * np.stack([seen @ right + strength * users, seen.T @ left + strength * right])
    return loss, slopes
