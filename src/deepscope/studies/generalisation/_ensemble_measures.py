"""What is read off the curves of ensembles and of networks drawn around a solution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepscope.core import per_seed
from deepscope.studies.generalisation._ensemble_cases import LATE, MEMBERS, PASSES, PLAIN

if TYPE_CHECKING:
    import pandas as pd

    from deepscope.core import Value

    Numbers = pd.Series[Any]


def at_size(trials: pd.DataFrame, column: str, size: int = MEMBERS, case: dict[str, Value] = PLAIN) -> Numbers:
    """Return, by seed, a score of ensembles of so many networks; NaN where there are not as many."""
    curves = per_seed(trials, column, **case)
    return curves.map(lambda curve: float(curve[size - 1]) if len(curve) >= size else np.nan).astype(float)


def at_passes(trials: pd.DataFrame, column: str, passes: int, case: dict[str, Value]) -> Numbers:
    """Return, by seed, a score of the mean over so many dropout passes."""
    place = PASSES.index(passes)
    return per_seed(trials, column, **case).map(lambda curve: float(np.asarray(curve)[place])).astype(float)


def gain_of_inits(trials: pd.DataFrame, *, own: bool = True) -> Numbers:
    """Return, by seed, what five networks gain over one of them in negative log-likelihood, in nats."""
    column = "own_nll" if own else "nll"
    return at_size(trials, column, 1) - at_size(trials, column)


def gain_around(trials: pd.DataFrame, method: str, *, own: bool = True, oldest: float = LATE) -> Numbers:
    """Return, by seed, what an ensemble around one network gains over it, at the scale that validates best.

    Parameters
    ----------
    trials
        The study's table.
    method
        How its members are drawn.
    own
        Whether every prediction is at its own temperature, in validation too.
    oldest
        Snapshots from before this last share of the training are left out.
    """
    prefix = "own_" if own else ""
    scales = per_seed(trials, f"{method}_scale", **PLAIN)
    validation = per_seed(trials, f"{method}_{prefix}validation", **PLAIN)
    gains = per_seed(trials, f"{method}_{prefix}gain", **PLAIN)
    found = gains.copy()
    for seed in gains.index:
        allowed = np.asarray(scales[seed], dtype=float) <= (oldest + 1e-9 if method == "snapshots" else np.inf)
        best = int(np.argmin(np.where(allowed, np.asarray(validation[seed], dtype=float), np.inf)))
        found[seed] = float(np.asarray(gains[seed])[best])
    return found.astype(float)


def lost_at_equal_disagreement(trials: pd.DataFrame, method: str) -> Numbers:
    """Return, by seed, the accuracy lost where networks around a solution disagree with it as much as others do."""
    wanted = per_seed(trials, "disagreement", **PLAIN)
    apart = per_seed(trials, f"{method}_disagreement", **PLAIN)
    lost = per_seed(trials, f"{method}_lost", **PLAIN)
    found = apart.copy()
    for seed in apart.index:
        found[seed] = value_at(apart[seed], lost[seed], float(wanted[seed]))
    return found.astype(float)


def value_at(x: ArrayLike, y: ArrayLike, wanted: float) -> float | None:
    """Return y where a path of straight pieces first reaches an x; None where it never does.

    >>> value_at([0.0, 1.0, 3.0], [0.0, 2.0, 4.0], 2.0), value_at([0.0, 1.0], [0.0, 2.0], 2.0)
    (3.0, None)
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    beyond = np.flatnonzero(xs >= wanted)
    if not len(beyond):
        return None
    end = int(beyond[0])
    if end == 0:
        return float(ys[0])
    share = (wanted - xs[end - 1]) / (xs[end] - xs[end - 1])
    return float(ys[end - 1] + share * (ys[end] - ys[end - 1]))


def farthest_within(x: ArrayLike, y: ArrayLike, most: float) -> float:
    """Return the largest x on a path of straight pieces from the origin at which y is at most so much.

    >>> farthest_within([0.0, 1.0, 3.0], [0.0, 2.0, 4.0], 3.0)
    2.0
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    found = xs[ys <= most].max(initial=0.0)
    for start, end in zip(range(len(xs) - 1), range(1, len(xs)), strict=True):
        if (ys[start] <= most) != (ys[end] <= most):
            share = (most - ys[start]) / (ys[end] - ys[start])
            found = max(found, xs[start] + share * (xs[end] - xs[start]))
    return float(found)


def ratios(trials: pd.DataFrame, method: str, tolerances: ArrayLike) -> NDArray[np.float64]:
    """Return how many times as much other networks disagree as those around a solution, [seeds, tolerances].

    Of the latter, those count whose accuracy is lower than the solution's by at most the tolerance.
    """
    wanted = per_seed(trials, "disagreement", **PLAIN)
    apart = per_seed(trials, f"{method}_disagreement", **PLAIN)
    lost = per_seed(trials, f"{method}_lost", **PLAIN)
    limits = np.asarray(tolerances, dtype=float)
    rows = [
        [float(wanted[seed]) / farthest_within(apart[seed], lost[seed], limit) for limit in limits]
        for seed in apart.index
    ]
    return np.array(rows).reshape(len(rows), len(limits))
