"""What linear networks learn here: input–output correlations with known modes, and of a tree of concepts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepscope.studies.learning_dynamics._linear_network import Floats

INPUTS, OUTPUTS, MODES = 12, 10, 4
#: Each singular value is the one before it times a number from this range.
RATIOS = (0.6, 0.8)
LEVELS = 3
FEATURES = 400
#: Probability that a feature changes on one branch of the tree.
CHANGE = 0.08


@dataclass(frozen=True)
class Modes:
    """Singular value decompositions of several correlation matrices.

    Attributes
    ----------
    left, right
        Output and input singular vectors, [draws, outputs, modes] and [draws, inputs, modes].
    values
        Singular values, [draws, modes], descending.
    """

    left: Floats
    values: Floats
    right: Floats

    @property
    def correlation(self) -> Floats:
        """Σ = U S Vᵀ, [draws, outputs, inputs]."""
        found: Floats = np.einsum("dok,dk,dik->doi", self.left, self.values, self.right)
        return found

    def strengths(self, maps: Floats) -> Floats:
        """Return uᵀ W v of each mode, […, draws, modes], of maps […, draws, outputs, inputs]."""
        found: Floats = np.einsum("dok,...doi,dik->...dk", self.left, maps, self.right, optimize=True)
        return found


def random_modes(rng: np.random.Generator, draws: int) -> Modes:
    """Draw correlations of 12 inputs and 10 outputs with 4 modes in random directions.

    The first singular value is 1; each is 0.6 to 0.8 of the one before it, uniformly.
    """
    left = np.linalg.qr(rng.standard_normal((draws, OUTPUTS, MODES))).Q
    right = np.linalg.qr(rng.standard_normal((draws, INPUTS, MODES))).Q
    ratios = np.concatenate([np.ones((draws, 1)), rng.uniform(*RATIOS, (draws, MODES - 1))], axis=1)
    return Modes(left, np.cumprod(ratios, axis=1), right)


def decoupled(modes: Modes, hidden: Floats, start: Floats) -> list[Floats]:
    """Return two layers in which each mode has a hidden direction of its own and the same strength in both.

    W₁ = R √A Vᵀ and W₂ = U √A Rᵀ.

    Parameters
    ----------
    hidden
        R, orthonormal columns, [draws, width, modes].
    start
        A, the modes' initial strengths a₀, [draws, modes].
    """
    first = np.einsum("dhk,dk,dik->dhi", hidden, np.sqrt(start), modes.right)
    second = np.einsum("dok,dk,dhk->doh", modes.left, np.sqrt(start), hidden)
    return [first, second]


def growing_strength(modes: Modes, first: Floats, second: Floats) -> Floats:
    """Return the a₀ with which modes grow out of small weights that are not decoupled, [draws, modes].

    A mode's output vector a = W₂ᵀ u and input vector b = W₁ v, both in the hidden space, obey a′ = s b, b′ = s a as
    long as they are small. Their mean (a + b)/2 grows as eˢᵗ, their difference dies out: the strength a·b becomes
    |(a + b)/2|² e²ˢᵗ.
    """
    outgoing = np.einsum("doh,dok->dhk", second, modes.left)
    incoming = np.einsum("dhi,dik->dhk", first, modes.right)
    found: Floats = np.sum(((outgoing + incoming) / 2) ** 2, axis=1)
    return found


def tree_features(rng: np.random.Generator, draws: int) -> Floats:
    """Draw features of 8 items at the ends of a binary tree of 3 levels, ±1, [draws, 400, 8].

    A feature starts at the root as ±1 and changes its sign on each branch with probability 0.08: items that parted late
    share most features.
    """
    found = rng.choice([-1.0, 1.0], (draws, FEATURES, 1))
    for _ in range(LEVELS):
        found = np.repeat(found, 2, axis=-1)
        found = np.where(rng.random(found.shape) < CHANGE, -found, found)
    return found


def tree_correlation(features: Floats) -> Floats:
    """Return Σ, [draws, features, items].

    The P items are equally frequent, and the input of the i-th is √P eᵢ, so that inputs are whitened. Outputs are the
    features times √(P / number of features), so that Σ, with its columns of length 1, has singular values near 1.
    """
    found: Floats = features / np.sqrt(features.shape[-2])
    return found


def splits() -> tuple[Floats, Floats]:
    """Return the splits of the tree, one contrast for each node, and their levels, the broadest 0.

    Returns
    -------
    contrasts, levels
        [items, splits], orthonormal columns, positive on one branch of the node and negative on the other; [splits].
    """
    items = 2**LEVELS
    columns, levels = [], []
    for level in range(LEVELS):
        size = items >> level
        for first in range(0, items, size):
            column = np.zeros(items)
            column[first : first + size // 2] = 1
            column[first + size // 2 : first + size] = -1
            columns.append(column / np.sqrt(size))
            levels.append(level)
    return np.stack(columns, axis=1), np.array(levels)


def split_strengths(maps: Floats, correlation: Floats, contrasts: Floats) -> Floats:
    """Return how much of each split a network makes, 0 at first and 1 when it is learnt, […, draws, splits].

    W c, of maps W […, draws, features, items], projected on Σ c, which is how the outputs differ between the branches,
    over |Σ c|².
    """
    wanted = correlation @ contrasts
    made = maps @ contrasts
    found: Floats = np.einsum("...dfk,dfk->...dk", made, wanted) / np.sum(wanted**2, axis=1)
    return found
