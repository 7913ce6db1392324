"""Least squares without a penalty (minimum norm) and with one (ridge), from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """A design Φ = U S Wᵀ of rank r, and the inputs to predict for, in the coordinates W.

    Attributes
    ----------
    eigenvalues
        [r] S², ascending.
    train
        [n, r] ΦW.
    test
        [m, r] Φ_test W.
    """

    eigenvalues: Floats
    train: Floats
    test: Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """Predictions [n, k] and [m, k] for k targets, and the norm of all coefficients together."""

    train: Floats
    test: Floats
    norm: float


def by_features(train: Floats, test: Floats) -> Factors:
    """Factorise designs Φ [n, N] and Φ_test [m, N] by ΦᵀΦ: the cheaper way for N ≤ n; N³ operations."""
    eigenvalues, directions = _eigen(train.T @ train)
    return Factors(eigenvalues, train @ directions, test @ directions)


def by_samples(gram: Floats, cross: Floats) -> Factors:
    """Factorise by ΦΦᵀ [n, n] and Φ_testΦᵀ [m, n], the cheaper way for N ≥ n; n³ operations, however large N is."""
    eigenvalues, directions = _eigen(gram)
    back = directions / np.sqrt(eigenvalues)
    # Not U S, by which every fit would interpolate however wrong the decomposition is.
    return Factors(eigenvalues, gram @ back, cross @ back)


def solve(factors: Factors, targets: Floats, penalty: float = 0.0) -> Fit:
    """Return the coefficients' least ‖Φa − Y‖² + penalty · ‖a‖², that of least norm without a penalty; Y is [n, k]."""
    coefficients = (factors.train.T @ targets) / (factors.eigenvalues + penalty)[:, None]
    return Fit(factors.train @ coefficients, factors.test @ coefficients, float(np.linalg.norm(coefficients)))


def loo_penalty(factors: Factors, targets: Floats, penalties: Sequence[float]) -> float:
    """Return the penalty of least squared leave-one-out error, which for ridge needs no refit: (y − ŷ) / (1 − H_ii).

    Notes
    -----
    1 − H_ii loses digits to cancellation; penalties of at least 1e-8 of the mean eigenvalue leave half of them.
    """
    projected = factors.train.T @ targets
    squares = factors.train**2

    def error(penalty: float) -> float:
        shrunk = 1 / (factors.eigenvalues + penalty)
        residual = targets - factors.train @ (projected * shrunk[:, None])
        return float(np.sum((residual / (1 - squares @ shrunk)[:, None]) ** 2))

    return min(penalties, key=error)


def _eigen(gram: Floats) -> tuple[Floats, NDArray[Any]]:
    """Return the eigenvalues and -vectors of a Gram matrix that can be told from 0.

    ``eigh`` errs by about its size times eps times the largest eigenvalue.
    """
    eigenvalues, directions = np.linalg.eigh(gram)
    kept = eigenvalues > len(gram) * np.finfo(np.float64).eps * eigenvalues[-1]
    return eigenvalues[kept], directions[:, kept]
