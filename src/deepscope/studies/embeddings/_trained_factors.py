"""How far factorisations trained from several random starts agree, in predictions and in cosines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import Case, TrialRun
from deepscope.studies.embeddings._cosines import chance, cosines, differences, precision
from deepscope.studies.embeddings._factorisation import (
    PENALTIES,
    Factors,
    alternating,
    closed_form,
    descended,
    strength,
)
from deepscope.studies.embeddings._interactions import interactions

Floats = NDArray[np.float64]

#: Standard deviations of the entries from which trainings start that are not judged; the others start at rank^(−½).
SMALL_STARTS = (0.01, 0.1)


def trained(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how far several trainings are apart, for each penalty, by alternating solutions and by L-BFGS."""
    rng = np.random.default_rng(run.seed)
    matrix, groups = interactions(case, rng)
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    kept, directions = values[: case.rank], vectors[: case.rank].T
    gram = matrix.T @ matrix
    normal = rng.standard_normal((case.starts, 2, len(gram), case.rank))
    found: dict[str, Any] = {"chance": chance(groups)}
    for done, penalty in enumerate(PENALTIES, start=1):
        problem = gram, penalty, strength(kept, penalty)
        expected = closed_form(kept, directions, *problem[1:]).predictions
        solved = [alternating(*problem, right, case.alternations) for _, right in normal]
        found |= _agreement(f"alternating_{penalty}", solved, expected, groups)
        starts = [Factors(*(case.rank**-0.5 * each)) for each in normal]
        ends = [descended(*problem, start, case.descents) for start in starts]
        found |= _agreement(f"descended_{penalty}", ends, expected, groups)
        run.progress(done / (len(PENALTIES) + 1))
    problem = gram, "product", strength(kept, "product")
    small = [
        [descended(*problem, Factors(*(scale * each)), case.descents) for each in normal] for scale in SMALL_STARTS
    ]
    return found | {"small_starts": np.array([_median_difference(ends) for ends in small])}


def _agreement(name: str, ends: Sequence[Factors], expected: Floats, groups: NDArray[np.int64]) -> dict[str, float]:
    """Return the largest relative error of predictions, and differences of cosines between any two of the ends."""
    errors = [np.linalg.norm(each.predictions - expected) / np.linalg.norm(expected) for each in ends]
    similarities = [cosines(each.right) for each in ends]
    return {
        f"{name}_error": float(max(errors)),
        f"{name}_median": _median_difference(ends),
        f"{name}_largest": max(float(differences(*two).max()) for two in combinations(similarities, 2)),
        f"{name}_precision": float(np.mean([precision(each, groups) for each in similarities])),
    }


def _median_difference(ends: Sequence[Factors]) -> float:
    """Return the median over pairs of items of the difference of their cosine, mean over pairs of ends."""
    similarities = [cosines(each.right) for each in ends]
    return float(np.mean([np.median(differences(*two)) for two in combinations(similarities, 2)]))
