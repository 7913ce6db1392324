"""The steps after which the training and the validation pairs are learned, with runs that ended before they were."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from deepscope.core import Value, per_seed

#: The condition from which one thing at a time is changed.
MAIN: dict[str, Value] = {"fraction": 0.6, "weight_decay": 1.0, "labels": "table"}
#: So many times the steps must the validation pairs take: less is no grokking.
DELAYED = 5.0
#: Steps to learn the training and the validation pairs that ``power2022grokking`` reports, in orders of magnitude: of
#: a transformer on a / b modulo 97 with half of the table, by Adam without weight decay.
REPORTED = (1e3, 1e6)
#: With fewer values than this there is no trend: each scale has more or as many.
FEWEST_VALUES = 3


def learning_steps(trials: pd.DataFrame, **case: Value) -> pd.DataFrame:
    """Return the steps to 99 % accuracy of each seed of a case.

    Returns
    -------
    pandas.DataFrame
        By seed. ``fitted``: on the training pairs. ``learned``: on the validation pairs; where the steps were used up
        before (``censored``), their number, a lower bound. Both NaN where the training pairs were not learned: nothing
        was memorised, so that nothing was learned later.
    """
    fitted, learned, budget = (per_seed(trials, name, **case) for name in ("fitted_step", "learned_step", "steps"))
    bound = learned.fillna(budget).where(fitted.notna())
    return pd.DataFrame({"fitted": fitted, "learned": bound, "censored": learned.isna()})


def log_ratio(longer: pd.DataFrame, shorter: pd.DataFrame) -> pd.Series[float]:
    """Return log(steps to learn the validation pairs in one case over those in another) by seed, or a lower bound.

    A run that used up its steps bounds the ratio from below in the case that should take longer. In the other case it
    would bound it from above: NaN.
    """
    return (longer["learned"] / shorter["learned"].mask(shorter["censored"])).map(math.log)


def sweep(trials: pd.DataFrame, operation: str, axis: str) -> dict[float, pd.DataFrame]:
    """Return the steps at every value above 0 of one field, ascending; the other fields are those of ``MAIN``."""
    if trials.empty:
        return {}
    chosen = trials[trials["operation"] == operation]
    for name, value in MAIN.items():
        if name != axis:
            chosen = chosen[chosen[name] == value]
    values = sorted(float(value) for value in chosen[axis].unique() if value > 0)
    return {value: learning_steps(chosen, **{axis: value}) for value in values}


def slope(points: dict[float, pd.DataFrame], *, log2: bool = False) -> pd.Series[float]:
    """Return an upper bound on each seed's slope of log(steps to learn the validation pairs), by least squares.

    The slope is taken over what was changed, or over its binary logarithm. It is Σ wᵢ log(stepsᵢ), with negative
    weights for small values and positive ones for large values. Steps that were used up are a lower bound: with a
    negative weight it can only make a falling slope look flatter than it is. With a positive weight it would make it
    look steeper, so that the slope of such a seed is unknown: NaN, as it is where a run is missing. Unknown slopes are
    not left out: of a seed that was cut off where the claim says that learning is early, the run speaks against it.
    """
    if len(points) < FEWEST_VALUES:
        return pd.Series(dtype=float)
    x = np.log2(list(points)) if log2 else np.array(list(points))
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    # The middle of an odd number of values has no weight but for rounding.
    weights[np.abs(weights) < 1e-9 * np.abs(weights).max()] = 0.0
    steps = pd.DataFrame({value: point["learned"] for value, point in points.items()})
    censored = pd.DataFrame({value: point["censored"] for value, point in points.items()}).eq(True)
    found: pd.Series[float] = steps.map(math.log).mul(weights).sum(axis=1, skipna=False)
    return found.mask((censored & (weights > 0)).any(axis=1))
