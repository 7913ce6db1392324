"""What decides whether mean-field theory predicts how signals propagate, and how deep networks can be trained."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from deepscope.core import Criterion, per_seed
from deepscope.studies.wide_networks._edge_cases import (
    EDGE,
    SIGNALS,
    TRAINED,
    away_from_the_edge,
    bounded,
    theory,
    trainable_depth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Numbers = pd.Series[Any]
    #: Of what a trial returned and σ_w².
    Distance = Callable[[Any, float], Any]

TOLERANCE = 0.05
DEPTH_TOLERANCE = math.log(1.15)
#: A network with this accuracy was trained.
TRAINABLE = 0.5
#: Depth that can be trained, in units of ξ_c: as reported, and how far from it.
REPORTED, RANGE = 6.0, 3.0
FACTOR = math.log(3)
#: The theory of networks of another activation.
OTHER = "erf"


def signal_criteria(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the fixed points and the depth in which correlations settle."""
    away = away_from_the_edge()
    return [
        Criterion.effect(
            "q*: relative distance of the mean over networks from theory, largest of ten σ_w²",
            _worst(trials, "variances", SIGNALS, lambda found, w: np.mean(found) / theory(w).variance - 1),
            below=TOLERANCE,
            published="theory: 0 for infinite width",
        ),
        Criterion.effect(
            "χ₁, growth of a small perturbation per layer: relative distance from theory, largest of ten σ_w²",
            _worst(trials, "growth", SIGNALS, lambda found, w: found / theory(w).chi1 - 1),
            below=TOLERANCE,
            published="theory: 0 for infinite width",
        ),
        Criterion.effect(
            f"c*: distance from theory, largest of the {len(away)} σ_w² away from the edge",
            _worst(trials, "correlation", away, lambda found, w: found - theory(w).correlation),
            below=TOLERANCE,
            published="theory: 0 for infinite width",
        ),
        *(
            Criterion.effect(
                f"σ_w² = {w:g}: log of ξ_c over that of theory, {theory(w).correlation_depth:.1f} layers "
                "(within log 1.15)",
                _log(per_seed(trials, "correlation_depth", part="signal", weight_variance=w))
                - math.log(theory(w).correlation_depth),
                within=DEPTH_TOLERANCE,
                published="theory: 0 for infinite width",
            )
            for w in away
        ),
    ]


def signal_controls(trials: pd.DataFrame) -> list[Criterion]:
    """Judge where the theory must be off: narrow networks, and the theory of another activation."""
    narrow, wide = (_spread(trials, part) for part in ("narrow", "signal"))
    return [
        Criterion.effect(
            "10 units: log of the RMS relative distance of a network's q* from theory, over that of the wide networks "
            "(above log 3)",
            _log(narrow) - _log(wide),
            above=FACTOR,
            published="theory: ½ log of the ratio of the widths",
            control=True,
        ),
        Criterion.effect(
            f"q* against the theory of {OTHER} networks: relative distance, least of ten σ_w²",
            _least(trials, "variances", SIGNALS, lambda found, w: np.mean(found) / theory(w, OTHER).variance - 1),
            above=TOLERANCE,
            control=True,
        ),
        Criterion.effect(
            f"χ₁ against the theory of {OTHER} networks: relative distance, least of ten σ_w²",
            _least(trials, "growth", SIGNALS, lambda found, w: found / theory(w, OTHER).chi1 - 1),
            above=TOLERANCE,
            control=True,
        ),
    ]


def training_criteria(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the depth that can be trained."""
    accuracies = accuracy_table(trials)
    return [
        *(
            Criterion.effect(
                f"σ_w² = {w:g}: depth at which the training accuracy falls to 50 %, over ξ_c of theory (3 to 9)",
                _boundary(accuracies, w) / theory(w).correlation_depth,
                within=RANGE,
                target=REPORTED,
                published="about 6 (MNIST, width 300)",
            )
            for w in bounded()
        ),
        Criterion.effect(
            "slope of the log depth at which the accuracy falls to 50 % against log ξ_c",
            _slope(accuracies),
            above=0.0,
            published="theory: 1",
        ),
        Criterion.effect(
            "trained to 50 % or not: area under the ROC curve of depth over ξ_c, minus that of the depth alone",
            _per_seed(accuracies, lambda row: _auc(row, _in_units) - _auc(row, _alone)),
            above=0.0,
        ),
        Criterion.effect(
            "trained to 50 % or not: share of networks for which depth < 6 ξ_c is right, minus that of the best limit "
            "of the depth alone",
            _per_seed(accuracies, lambda row: _right(row, _in_units, REPORTED) - _best(row)),
            above=0.0,
        ),
        Criterion.effect(
            "greatest depth: training accuracy at the edge of chaos, minus that at σ_w² = 1 or 4 (the greater)",
            _peak(accuracies),
            above=0.0,
            published="above 0",
        ),
    ]


def training_controls(trials: pd.DataFrame) -> list[Criterion]:
    """Judge the deep network that theory does not forbid to learn."""
    return [
        Criterion.effect(
            "linear network of the greatest depth, orthogonal start: training accuracy",
            per_seed(trials, "accuracy", part="linear", start="orthogonal"),
            above=0.9,
            control=True,
        )
    ]


def accuracy_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the training accuracy with the best learning rate: a row per seed, columns (σ_w², depth), ascending."""
    names = ["part", "seed", "weight_variance", "depth", "accuracy"]
    chosen = trials.reindex(columns=names)
    chosen = chosen[chosen["part"] == "training"].astype({"accuracy": float})
    best = chosen.groupby(["seed", "weight_variance", "depth"])["accuracy"].max()
    return best.unstack(["weight_variance", "depth"]).sort_index(axis=1)


def _compared(trials: pd.DataFrame, column: str, points: Iterable[float], distance: Distance) -> pd.DataFrame:
    """Return absolute distances from theory by seed and σ_w²; a trial that is missing leaves a gap."""
    return pd.DataFrame(
        {
            w: per_seed(trials, column, part="signal", weight_variance=w)
            .map(lambda found, w=w: abs(float(distance(found, w))))
            .astype(float)
            for w in points
        }
    )


def _worst(
    trials: pd.DataFrame, column: str, points: Iterable[float], distance: Callable[[Any, float], Any]
) -> Numbers:
    return _compared(trials, column, points, distance).max(axis=1, skipna=False)


def _least(
    trials: pd.DataFrame, column: str, points: Iterable[float], distance: Callable[[Any, float], Any]
) -> Numbers:
    return _compared(trials, column, points, distance).min(axis=1, skipna=False)


def _spread(trials: pd.DataFrame, part: str) -> Numbers:
    """Return the RMS over networks and σ_w² of the relative distance of a network's q* from theory, by seed."""
    squares = pd.DataFrame(
        {
            w: per_seed(trials, "variances", part=part, weight_variance=w)
            .map(lambda found, w=w: float(np.mean((np.asarray(found) / theory(w).variance - 1) ** 2)))
            .astype(float)
            for w in SIGNALS
        }
    )
    return squares.mean(axis=1, skipna=False) ** 0.5


def _log(values: Numbers) -> Numbers:
    return values.astype(float).map(math.log, na_action="ignore")


def _boundary(accuracies: pd.DataFrame, weight_variance: float) -> Numbers:
    """Return the depth that can be trained, by seed."""
    if weight_variance not in accuracies.columns.get_level_values(0):
        return pd.Series([], dtype=float)
    table = accuracies[weight_variance]
    depths = [float(depth) for depth in table.columns]
    return table.apply(lambda row: trainable_depth(depths, row, TRAINABLE), axis=1).astype(float)


def _slope(accuracies: pd.DataFrame) -> Numbers:
    logs = pd.DataFrame({w: _log(_boundary(accuracies, w)) for w in bounded()})
    x = np.log([theory(w).correlation_depth for w in logs.columns])
    return logs.mul((x - x.mean()) / np.square(x - x.mean()).sum()).sum(axis=1, skipna=False)


def _per_seed(accuracies: pd.DataFrame, measure: Callable[[Numbers], float]) -> Numbers:
    """Return a number of all networks of a seed; NaN where one is missing."""
    cells: set[Any] = set(accuracies.columns)
    whole = cells == set(itertools.product(TRAINED, {depth for _, depth in cells}))
    return pd.Series(
        {seed: measure(row) if whole and row.notna().all() else math.nan for seed, row in accuracies.iterrows()},
        dtype=float,
    )


def _in_units(cell: tuple[float, int]) -> float:
    return cell[1] / theory(cell[0]).correlation_depth


def _alone(cell: tuple[float, int]) -> float:
    return float(cell[1])


def _auc(row: Numbers, score: Callable[[tuple[float, int]], float]) -> float:
    """Return the share of pairs, a trained network and one that is not, in which the first has the lower score."""
    scores, trained = np.array([score(cell) for cell in row.index]), row.to_numpy() >= TRAINABLE
    apart = scores[~trained][:, None] - scores[trained][None, :]
    return float((np.sign(apart) + 1).mean() / 2) if apart.size else math.nan


def _right(row: Numbers, score: Callable[[tuple[float, int]], float], limit: float) -> float:
    scores = np.array([score(cell) for cell in row.index])
    return float(((scores < limit) == (row.to_numpy() >= TRAINABLE)).mean())


def _best(row: Numbers) -> float:
    """Return the share that the best limit of the depth gets right, chosen when all is known."""
    limits = [*{_alone(cell) for cell in row.index}, math.inf]
    return max(_right(row, _alone, limit) for limit in limits)


def _peak(accuracies: pd.DataFrame) -> Numbers:
    if accuracies.empty:
        return pd.Series([], dtype=float)
    most = max(accuracies.columns.get_level_values(1))
    at = {w: accuracies.get((w, most), pd.Series(math.nan, accuracies.index)) for w in (TRAINED[0], EDGE, TRAINED[-1])}
    return at[EDGE] - pd.DataFrame([at[TRAINED[0]], at[TRAINED[-1]]]).max(skipna=False)
