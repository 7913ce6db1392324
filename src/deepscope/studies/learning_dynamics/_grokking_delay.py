"""How much later the validation pairs are learned than the training pairs, with runs that ended before they were."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepscope.core import Value, per_seed

#: The condition from which one thing at a time is changed.
MAIN: dict[str, Value] = {"fraction": 0.6, "weight_decay": 1.0, "labels": "table"}
#: So many times the steps must the validation pairs take: less is no grokking.
DELAYED = 5.0
#: Reported of a transformer on a / b modulo 97 with half of the table: under 10³ steps, and about 10⁶.
REPORTED = 1000.0
#: With fewer values than this there is no trend: each scale has more or as many.
FEWEST_VALUES = 3


def delays(trials: pd.DataFrame, **case: Value) -> pd.DataFrame:
    """Return the delay of each seed of a case: log of the steps to learn the validation over the training pairs.

    Returns
    -------
    pandas.DataFrame
        By seed. ``delay``; where the steps were used up before (``censored``), their number stands for the step that
        was not reached, and the delay is a lower bound. NaN where the training pairs were not learned.
    """
    fitted, learned, budget = (per_seed(trials, name, **case) for name in ("fitted_step", "learned_step", "steps"))
    return pd.DataFrame({"delay": np.log(learned.fillna(budget) / fitted), "censored": learned.isna()})


def sweep(trials: pd.DataFrame, operation: str, axis: str) -> dict[float, pd.DataFrame]:
    """Return the delays at every value above 0 of one field, ascending; the other fields are those of ``MAIN``."""
    if trials.empty:
        return {}
    chosen = trials[trials["operation"] == operation]
    for name, value in MAIN.items():
        if name != axis:
            chosen = chosen[chosen[name] == value]
    values = sorted(float(value) for value in chosen[axis].unique() if value > 0)
    return {value: delays(chosen, **{axis: value}) for value in values}


def slope(points: dict[float, pd.DataFrame], *, log: bool = False) -> pd.Series[float]:
    """Return an upper bound on each seed's least-squares slope of the delay over what was changed, or over its log.

    The slope is Σ wᵢ delayᵢ, with negative weights for small values and positive ones for large values. A censored
    delay is a lower bound: with a negative weight it can only make a falling slope look flatter than it is. With a
    positive weight it would make it look steeper, so that the slope of such a seed is unknown: NaN, as it is where a
    delay is missing.
    """
    if len(points) < FEWEST_VALUES:
        return pd.Series(dtype=float)
    x = np.log(list(points)) if log else np.array(list(points))
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    # The middle of an even sweep has no weight but for rounding.
    weights[np.abs(weights) < 1e-9 * np.abs(weights).max()] = 0.0
    delay = pd.DataFrame({value: point["delay"] for value, point in points.items()})
    censored = pd.DataFrame({value: point["censored"] for value, point in points.items()}).eq(True)
    found: pd.Series[float] = delay.mul(weights).sum(axis=1, skipna=False)
    return found.mask((censored & (weights > 0)).any(axis=1))
