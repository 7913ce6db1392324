"""Similarity of items by the cosine of their embeddings, and what it retrieves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEIGHBOURS = 5


def cosines(embeddings: Floats) -> Floats:
    """Return the cosines of all pairs of rows, [items, items]."""
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found: Floats = units @ units.T
    return found


def differences(first: Floats, second: Floats) -> Floats:
    """Return how far the cosine of each pair of different items differs between two matrices of them, [pairs]."""
    pairs = np.triu_indices(len(first), 1)
    found: Floats = np.abs(first[pairs] - second[pairs])
    return found


def precision(similarity: Floats, groups: NDArray[np.int64]) -> float:
    """Return the share of an item's ``NEIGHBOURS`` most similar others that are of its own group, mean over items."""
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBOURS]
    return float((groups[nearest] == groups[:, None]).mean())


def chance(groups: NDArray[np.int64]) -> float:
    """Return the precision of neighbours drawn at random.

    >>> chance(np.array([0, 0, 1, 1]))
    0.3333333333333333
    """
    _, sizes = np.unique(groups, return_counts=True)
    return float((sizes * (sizes - 1)).sum() / (len(groups) * (len(groups) - 1)))
