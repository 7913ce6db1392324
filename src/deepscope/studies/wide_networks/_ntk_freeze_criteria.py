"""What decides whether the tangent kernel freezes, of one task and one number of hidden layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deepscope.core import Criterion
from deepscope.studies.wide_networks._ntk_freeze_figure import LABELS, SAME

if TYPE_CHECKING:
    import pandas as pd

    Numbers = pd.Series[Any]

#: Log–log slopes of the kernel's change over the width, and how far from theory they may be.
SLOPES = {"relu": -0.75, "erf": -1.0}
TOLERANCE = 0.25
#: Largest gap to kernel regression with the kernel of infinite width.
NEAR = 0.03
FORMULA = math.log(1.1)
FACTOR = math.log(3)
#: With fewer widths there is no slope.
FEWEST_WIDTHS = 3
#: Task and hidden layers that are judged without saying so.
USUAL = ("circle", 1)


def criteria(trials: pd.DataFrame, task: str, depth: int) -> list[Criterion]:
    """Return the criteria of one task and number of hidden layers."""
    chosen = trials.reindex(
        columns=trials.columns.union(["task", "depth", "scaling", "activation", "width"], sort=False)
    )
    chosen = chosen[(chosen["task"] == task) & (chosen["depth"] == depth)]
    where = "" if (task, depth) == USUAL else f"{task}, hidden layers {depth}: "
    return [*_freezing(chosen, where), *_regression(chosen, where), *_scale(chosen, where)]


def _freezing(trials: pd.DataFrame, where: str) -> list[Criterion]:
    return [
        Criterion.exact(
            f"{where}loss after training over the loss that is to be reached, largest of all networks",
            _final_losses(trials),
            below=1.0,
        ),
        *(
            Criterion.effect(
                f"{where}{label}: slope of the log relative change of the kernel over log width",
                _slope(trials, "kernel_change", "ntk", activation),
                within=TOLERANCE,
                target=SLOPES[activation],
                published=f"below 0 (theorem); theory: {text}",
            )
            for activation, label, text in (("relu", "ReLU", "−¾"), ("erf", "erf", "−1"))
        ),
        *(
            Criterion.effect(
                f"{where}{label}: slope of the log distance that the weights move over log width",
                _slope(trials, "distance", "ntk", activation),
                within=0.15,
                published="theory: 0",
            )
            for activation, label in LABELS.items()
        ),
        *(
            Criterion.effect(
                f"{where}{label}: slope of the log distance of the first kernel from the infinite one over log width",
                _slope(trials, "kernel_distance", "ntk", activation),
                within=0.1,
                target=-0.5,
                published="theory: −½",
            )
            for activation, label in LABELS.items()
        ),
    ]


def _regression(trials: pd.DataFrame, where: str) -> list[Criterion]:
    return [
        Criterion.effect(
            f"{where}largest gap between network and linearisation, as part of the targets' range (worse of both)",
            _worse(_widest(trials, "gap", "ntk")),
            below=SAME,
            published="0 for infinite width",
        ),
        Criterion.effect(
            f"{where}largest gap between network and infinite-width kernel regression (worse of both)",
            _worse(_widest(trials, "regression_gap", "ntk")),
            below=NEAR,
            published="0 for infinite width",
        ),
        Criterion.effect(
            f"{where}largest |log| of the loss over the formula's, at any step (worse of both; below log 1.1)",
            _worse(_widest(trials, "loss_deviation", "ntk")),
            below=FORMULA,
            published="0 for infinite width",
        ),
    ]


def _scale(trials: pd.DataFrame, where: str) -> list[Criterion]:
    """Judge what must not be as a frozen kernel would have it."""
    gap = _log(_widest(trials, "gap", "ntk"))
    return [
        *(
            Criterion.effect(
                f"{where}mean field, {label}: slope of the log relative change of the kernel over log width",
                _slope(trials, "kernel_change", "mean field", activation),
                within=0.2,
                published="theory: 0",
                control=True,
            )
            for activation, label in LABELS.items()
        ),
        Criterion.effect(
            f"{where}mean field: relative change of the kernel (smaller of both)",
            _smaller(_widest(trials, "kernel_change", "mean field")),
            above=0.3,
            control=True,
        ),
        Criterion.effect(
            f"{where}mean field: log of the gap over that in NTK scaling (smaller of both; above log 3)",
            _smaller(_log(_widest(trials, "gap", "mean field")) - gap),
            above=FACTOR,
            control=True,
        ),
        Criterion.effect(
            f"{where}mean field: largest |log| of the loss over the formula's (smaller of both; above log 1.1)",
            _smaller(_widest(trials, "loss_deviation", "mean field")),
            above=FORMULA,
            control=True,
        ),
        Criterion.effect(
            f"{where}untrained network: gap (smaller of both)",
            _smaller(_widest(trials, "untrained_gap", "ntk")),
            above=0.2,
            control=True,
        ),
        Criterion.effect(
            f"{where}another start's linearisation: log of the gap over that of its own (smaller of both; above log 3)",
            _smaller(_log(_widest(trials, "other_gap", "ntk")) - gap),
            above=FACTOR,
            control=True,
        ),
    ]


def _final_losses(trials: pd.DataFrame) -> Numbers:
    """Return the last loss of every network over the one it is to reach, by seed."""
    chosen = trials.reindex(columns=["seed", "loss", "target_loss"])
    return (chosen["loss"] / chosen["target_loss"]).set_axis(chosen["seed"])


def _by_width(trials: pd.DataFrame, column: str, scaling: str, activation: str) -> pd.DataFrame:
    """Return a number by seed and width; NaN where a trial is missing or has none."""
    chosen = trials[(trials["scaling"] == scaling) & (trials["activation"] == activation)]
    chosen = chosen.reindex(columns=["seed", "width", column])
    return chosen.pivot(index="seed", columns="width", values=column).astype(float)


def _slope(trials: pd.DataFrame, column: str, scaling: str, activation: str) -> Numbers:
    """Return by seed the slope of the log of a number against log width; NaN where it is 0 or missing at a width."""
    numbers = _log(_by_width(trials, column, scaling, activation))
    x = np.log(numbers.columns.to_numpy(dtype=float))
    if len(x) < FEWEST_WIDTHS:
        return numbers.sum(axis=1).iloc[:0]
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    return numbers.mul(weights).sum(axis=1, skipna=False)


def _widest(trials: pd.DataFrame, column: str, scaling: str) -> pd.DataFrame:
    """Return a number of the widest networks by seed and activation."""
    import pandas as pd

    tables = {activation: _by_width(trials, column, scaling, activation) for activation in LABELS}
    widths = [int(width) for table in tables.values() for width in table.columns]
    return pd.DataFrame(
        {name: table.get(max(widths, default=0), pd.Series(dtype=float)) for name, table in tables.items()}
    )


def _log(table: pd.DataFrame) -> pd.DataFrame:
    return table.where(table > 0).map(math.log, na_action="ignore")


def _worse(table: pd.DataFrame) -> Numbers:
    return table.max(axis=1, skipna=False)


def _smaller(table: pd.DataFrame) -> Numbers:
    return table.min(axis=1, skipna=False)
