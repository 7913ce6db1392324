"""Whether a hyperplane through the origin has all points on its positive side, and how far they can be from it.

A point z stands for a sample x with label ±1: it is the label times (x, 1), so that a hyperplane with a threshold
separates the samples where one through the origin has all z·w > 0. Gordan's theorem: either there is such a w, or
there are weights α ≥ 0 that sum to 1 with Σ αᵢ zᵢ = 0. The margins below come with a proof from either side: a w shows
that there is such a margin, and an α that there is no larger one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from deepscope.core import UsageError

Floats = NDArray[np.float64]

#: Margins of a program below the first are 0 up to rounding, and above the second not 0.
ROUNDING = 1e-9
CLEARLY_POSITIVE = 1e-6
#: From so many coordinates on a program is solved by the interior-point method, which ends at a vertex as the simplex
#: method does: seconds, where that takes minutes.
MANY = 500


class Bounds(NamedTuple):
    """What is shown by a w, and what is shown by an α: the largest margin lies between."""

    low: float
    high: float


class Margin(NamedTuple):
    """Bounds of γ/R, and u [d], the w of length 1 that shows the lower one."""

    low: float
    high: float
    normal: Floats


def euclidean_margin(points: Floats) -> Margin:
    """Return γ/R, where γ is the largest minᵢ zᵢ·w over |w| = 1 and R the largest |zᵢ|.

    It is the distance of the origin from the points' convex hull. The nearest point of the hull is found by
    non-negative least squares, min ‖Σ αᵢ zᵢ‖² + (1 − Σ αᵢ)², whose solution is a multiple of it (an active-set
    method: exact up to rounding).

    Parameters
    ----------
    points
        [n, d], z.

    Notes
    -----
    About n LU solves of at most d unknowns each. Where nothing separates the points, ``low`` is not positive.
    """
    scaled = points / np.linalg.norm(points, axis=1).max()
    system = np.vstack([scaled.T, np.ones(len(scaled))])
    weights, _ = nnls(system, np.append(np.zeros(points.shape[1]), 1.0), maxiter=100 * len(scaled))
    nearest = scaled.T @ (weights / weights.sum())
    distance = float(np.linalg.norm(nearest))
    normal = nearest / distance if distance > 0 else nearest
    return Margin(float((scaled @ normal).min()), distance, normal)


def program_margin(points: Floats) -> Bounds:
    """Return the largest minᵢ zᵢ·w over w with all |wⱼ| ≤ 1, from a linear program and its dual, min ‖Σ αᵢ zᵢ‖₁.

    This is not the Euclidean margin; it has the same sign, and a linear program is what decides that sign most surely.

    Parameters
    ----------
    points
        [n, d], z.
    """
    count, features = points.shape
    found = linprog(
        np.append(np.zeros(features), -1.0),
        A_ub=np.column_stack([-points, np.ones(count)]),
        b_ub=np.zeros(count),
        bounds=[(-1, 1)] * features + [(None, None)],
        method="highs-ipm" if features >= MANY else "highs-ds",
    )
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    weights = np.clip(np.asarray(found.x)[:-1], -1, 1)
    combination = np.maximum(-found.ineqlin.marginals, 0)
    combination /= combination.sum()
    return Bounds(float((points @ weights).min()), float(np.abs(points.T @ combination).sum()))


def is_separable(points: Floats) -> bool:
    """Say whether some hyperplane separates the points, on the word of the one or the other proof.

    Parameters
    ----------
    points
        [n, d], z; integers of modest size, so that a margin that is not 0 is not tiny either.

    Raises
    ------
    UsageError
        Neither proof is beyond rounding.
    """
    margin = program_margin(points)
    if margin.low > CLEARLY_POSITIVE:
        return True
    if margin.high < ROUNDING:
        return False
    raise UsageError(
        f"the margin lies between {margin.low:.1e} and {margin.high:.1e}, too close to 0 to be decided",
        where=f"{len(points)} points",
        todo="Give points with smaller integer coordinates.",
    )
