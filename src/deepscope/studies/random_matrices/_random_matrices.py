"""Random matrices, and how far a spectrum is from the Marchenko–Pastur law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepscope.core import UsageError, nearest
from deepscope.linalg import gram_eigenvalues, mp_cdf, mp_variance, tracy_widom_threshold

Floats = NDArray[np.float64]

#: Degrees of freedom of the Student t entries; 1.5 has no variance.
DEGREES = {"t3": 3.0, "t1.5": 1.5}
ENTRIES = ("normal", "uniform", *DEGREES)


def draw_entries(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Draw a matrix of independent entries of mean 0, and of variance 1 where there is a variance.

    Parameters
    ----------
    kind
        ``"normal"``, ``"uniform"``, ``"t3"`` or ``"t1.5"`` (Student t; the last, without a variance, is not scaled).
    shape
        Rows and columns.
    rng
        Where the entries come from.

    Raises
    ------
    UsageError
        Unknown entries.
    """
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "uniform":
        return rng.uniform(-math.sqrt(3), math.sqrt(3), shape)
    if kind not in DEGREES:
        raise UsageError("unknown entries", where=kind, todo=nearest(kind, ENTRIES))
    degrees = DEGREES[kind]
    return rng.standard_t(degrees, shape) / (math.sqrt(degrees / (degrees - 2)) if degrees > 2 else 1.0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The eigenvalues of WᵀW beside those of a random matrix.

    Attributes
    ----------
    singular_values
        √λ in units of σ√N, ascending; N is the longer side, and σ² the variance of the entries of the random part, from
        the median eigenvalue. Those of a random matrix end at 1 + √(shorter/longer side).
    distance
        Kolmogorov–Smirnov distance to the Marchenko–Pastur law of this shape and σ², 0 to 1.
    n_spikes
        Number of eigenvalues above the value that the largest one of a random matrix exceeds in 1 % of cases.
    """

    singular_values: Floats
    distance: float
    n_spikes: int


def compare(matrix: Floats) -> Comparison:
    """Compare a matrix, [rows, cols], with random ones. Cost: the eigenvalues of its smaller Gram matrix."""
    rows, cols = matrix.shape
    eigenvalues = gram_eigenvalues(matrix)
    variance = mp_variance(eigenvalues, rows, cols)
    return Comparison(
        singular_values=np.sqrt(eigenvalues / (variance * max(rows, cols))),
        distance=ks_distance(mp_cdf(eigenvalues, rows, cols, variance)),
        n_spikes=int(np.sum(eigenvalues > tracy_widom_threshold(rows, cols, variance))),
    )


def ks_distance(model: Floats) -> float:
    """Return the largest gap between an empirical distribution function and a model's.

    Takes the model's function at the sorted sample, [n]; the gap is largest just before or at one of these steps.

    >>> ks_distance(np.array([0.25, 0.75]))
    0.25
    """
    steps = np.arange(len(model) + 1) / len(model)
    return float(max(np.abs(model - steps[:-1]).max(), np.abs(model - steps[1:]).max()))


def gaussian_null(rows: int, cols: int, draws: int) -> dict[str, float]:
    """Return how far Gaussian matrices, for which the law is exact in the limit, are from it at this size.

    Parameters
    ----------
    rows, cols
        Shape of the matrices.
    draws
        How many; their generator is seeded by these three numbers, and by no seed of a trial.

    Returns
    -------
    dict
        ``"distance"``: the KS distance that 99 % of them stay below.
    """
    rng = np.random.default_rng([rows, cols, draws])
    distances = [compare(rng.standard_normal((rows, cols))).distance for _ in range(draws)]
    return {"distance": float(np.quantile(distances, 0.99))}


def shuffled(matrix: Floats, rng: np.random.Generator) -> Floats:
    """Return the same entries in random places."""
    return rng.permutation(matrix.ravel()).reshape(matrix.shape)
