"""Gradient descent of a model that is linear in its parameters, solved in closed form: kernel regression, stopped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KernelDescent:
    """Full-batch gradient descent on half the mean squared error, in the space of functions, with a fixed kernel.

    Let Θ be the kernel of the m training points and Θ/m = Σ λᵢ uᵢ uᵢᵀ. After t steps of learning rate η the outputs on
    them are y + Σ (1 − ηλᵢ)^t cᵢ uᵢ, where cᵢ = uᵢ·(f₀ − y), with a mean squared error of Σ (1 − ηλᵢ)^2t cᵢ² / m. Any
    point x gets f₀(x) + Θ(x, ·) w, with the weights w = −Σ (1 − (1 − ηλᵢ)^t) / (m λᵢ) · cᵢ uᵢ. For t → ∞ this is f₀ and
    kernel regression of y − f₀.

    Attributes
    ----------
    start
        f₀ of all points, training points first, [points].
    kernel
        Θ of all points with the training points, [points, m].
    eigenvalues, vectors
        λ, ascending, [m], and u in columns, [m, m].
    errors
        c, [m].
    rate
        η, below 2/λ for every λ.
    """

    start: Floats
    kernel: Floats
    eigenvalues: Floats
    vectors: Floats
    errors: Floats
    rate: float

    @classmethod
    def of(cls, kernel: Floats, start: Floats, targets: Floats, *, rate: float | None = None) -> KernelDescent:
        """Take the kernel of all points, [points, points], and the targets of the first m; η is ½/λ if not given."""
        m = len(targets)
        eigenvalues, vectors = np.linalg.eigh(kernel[:m, :m] / m)
        errors = vectors.T @ (start[:m] - targets)
        return cls(start, kernel[:, :m], eigenvalues, vectors, errors, 0.5 / eigenvalues[-1] if rate is None else rate)

    def outputs(self, steps: int) -> Floats:
        """Return the outputs for all points after so many steps, [points]."""
        # Of a small λ, 1 − (1 − ηλ)^t leaves nothing but rounding unless it is taken from a logarithm.
        small = self.rate * np.minimum(self.eigenvalues, 0.5 / self.rate)
        learnt = np.where(
            self.rate * self.eigenvalues < 0.5,
            -np.expm1(steps * np.log1p(-small)),
            1 - (1 - self.rate * self.eigenvalues) ** steps,
        )
        weights = np.divide(
            learnt, self.eigenvalues, out=np.full_like(learnt, self.rate * steps), where=self.eigenvalues != 0
        )
        found: Floats = self.start - self.kernel @ (self.vectors @ (weights * self.errors)) / len(self.errors)
        return found

    def losses(self, steps: ArrayLike) -> Floats:
        """Return the mean squared error of the training points after each of these numbers of steps, [steps]."""
        left = (1 - self.rate * self.eigenvalues) ** (2 * np.asarray(steps)[:, None])
        found: Floats = left @ self.errors**2 / len(self.errors)
        return found
