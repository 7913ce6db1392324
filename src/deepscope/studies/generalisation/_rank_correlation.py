"""How well one number orders networks as another does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def kendall_tau(x: ArrayLike, y: ArrayLike, counts: ArrayLike | None = None) -> Floats:
    """Return Kendall's τ_b of samples that hold each of n pairs so many times.

    τ_b = Σ sign(xᵢ − xⱼ) sign(yᵢ − yⱼ) / √(Σ sign(xᵢ − xⱼ)² · Σ sign(yᵢ − yⱼ)²): pairs that are tied, as a network
    and its own copy in a resample are, count nowhere. 0 where all x or all y are equal: they order nothing.
    Source: ``kendall1938rank``.

    Parameters
    ----------
    x, y
        Numbers, [n].
    counts
        How many times each sample holds each of them, [samples, n]; one sample that holds each once unless given.

    Returns
    -------
    Array
        [samples]; NaN where a number is missing (NaN).

    Examples
    --------
    >>> kendall_tau([1, 2, 3, 4], [1, 3, 2, 4]).round(3).tolist()
    [0.667]
    """
    one, other = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weights = np.atleast_2d(np.ones(one.shape) if counts is None else np.asarray(counts, dtype=np.float64))
    if not np.isfinite(one).all() or not np.isfinite(other).all():
        return np.full(len(weights), np.nan)
    signs, others = _signs(one), _signs(other)

    def total(pairs: Floats) -> Floats:
        return np.asarray(((weights @ pairs) * weights).sum(axis=1))

    scale = np.sqrt(total(signs**2) * total(others**2))
    return np.divide(total(signs * others), scale, out=np.zeros(len(weights)), where=scale > 0)


def resamples(n: int, draws: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return how many times each of n is drawn in samples of n with replacement, [draws, n]."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def _signs(values: Floats) -> Floats:
    return np.asarray(np.sign(values[:, None] - values))
