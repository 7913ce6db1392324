"""Optimal factorisations whose predictions are the same, and the cosines of their embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import Case, TrialRun
from deepscope.studies.embeddings._cosines import chance, cosines, differences, precision
from deepscope.studies.embeddings._factorisation import Factors, closed_form, strength
from deepscope.studies.embeddings._interactions import PLANTED, interactions

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Standard deviations of the logarithm of D; what is judged is at 1.
SPREADS = (0.25, 0.5, 1.0, 2.0)
JUDGED = SPREADS.index(1.0)
#: Pairs of items in the figure.
_SHOWN = 800


def rescaled(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what rescaling the optimum for the product's norm does to predictions, cosines and retrieval.

    The same normal numbers serve all spreads. Numbers by spread are means over the draws of D, [spreads]; "spectral"
    is by D = S^½ and S^(−½).
    """
    rng = np.random.default_rng(run.seed)
    matrix, groups = interactions(case, rng)
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    kept, directions = values[: case.rank], vectors[: case.rank].T
    optimum = closed_form(kept, directions, "product", strength(kept, "product"))
    before = cosines(optimum.right)
    normal = rng.standard_normal((case.draws, case.rank))
    moved = [[optimum.rescaled(np.exp(spread * z)) for z in normal] for spread in SPREADS]
    after = [[cosines(each.right) for each in row] for row in moved]
    changes = [[differences(each, before) for each in row] for row in after]
    precisions = np.array([[precision(each, groups) for each in row] for row in after])
    spectral = [optimum.rescaled(kept**power) for power in (0.5, -0.5)]
    found = {
        "prediction_error": max(_prediction_error(each, optimum) for row in (*moved, spectral) for each in row),
        "median_difference": np.array([np.mean([np.median(each) for each in row]) for row in changes]),
        "largest_difference": np.array([np.mean([each.max() for each in row]) for row in changes]),
        "precision": precision(before, groups),
        "rescaled_precision": precisions.mean(axis=1),
        "spectral_precision": np.array([precision(cosines(each.right), groups) for each in spectral]),
        "chance": chance(groups),
        **_harmless(optimum, before, rng),
    }
    if case.data != PLANTED:
        return found
    return found | _shown_pairs(before, after[JUDGED][0], groups, rng) | _full_rank(values, vectors.T, groups)


def _shown_pairs(before: Floats, after: Floats, groups: Labels, rng: np.random.Generator) -> dict[str, Any]:
    """Return a random sample of pairs, for the figure: cosines before and after the first D, [2, pairs]."""
    first, second = np.triu_indices(len(groups), 1)
    shown = rng.permutation(len(first))[:_SHOWN]
    first, second = first[shown], second[shown]
    return {
        "pairs": np.stack([before[first, second], after[first, second]]),
        "of_one_group": groups[first] == groups[second],
    }


def _harmless(optimum: Factors, before: Floats, rng: np.random.Generator) -> dict[str, float]:
    """Return what a random rotation and a constant D do: nothing, but for rounding."""
    rank = optimum.left.shape[1]
    rotation = np.linalg.qr(rng.standard_normal((rank, rank))).Q
    moved = [optimum.rotated(rotation), optimum.rescaled(np.full(rank, np.exp(rng.standard_normal())))]
    return {
        "harmless_prediction_error": max(_prediction_error(each, optimum) for each in moved),
        "harmless_difference": max(float(differences(cosines(each.right), before).max()) for each in moved),
    }


def _prediction_error(factors: Factors, optimum: Factors) -> float:
    """Return the largest difference of an entry of A Bᵀ, as part of the largest entry."""
    expected = optimum.predictions
    return float(np.abs(factors.predictions - expected).max() / np.abs(expected).max())


def _full_rank(values: Floats, directions: Floats, groups: Labels) -> dict[str, Any]:
    """Return cosines for as many dimensions as items: balanced, and with D = Λ^½, which leaves B = V, orthogonal.

    λ is the square of the largest singular value: each direction loses half of its weight or more.
    """
    all_suppressed = values[0] ** 2
    optimum = closed_form(values, directions, "product", all_suppressed)
    shrinkage = values**2 / (values**2 + all_suppressed)
    orthogonal = optimum.rescaled(np.sqrt(shrinkage))
    balanced, identity = cosines(optimum.right), cosines(orthogonal.right)
    return {
        "full_rank_prediction_error": _prediction_error(orthogonal, optimum),
        "full_rank_cosine": float(differences(identity, np.eye(len(identity))).max()),
        "full_rank_contrast": _contrast(balanced, groups),
    }


def _contrast(similarity: Floats, groups: Labels) -> float:
    """Return the mean cosine of pairs of one group minus that of pairs of two."""
    pairs = np.triu_indices(len(groups), 1)
    same = groups[pairs[0]] == groups[pairs[1]]
    return float(similarity[pairs][same].mean() - similarity[pairs][~same].mean())
