"""How a number orders the networks of a zoo, series by series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepscope.studies.generalisation._model_zoo import SERIES
from deepscope.studies.generalisation._rank_correlation import Floats, kendall_tau, resamples

Numbers = pd.Series  # of floats, by seed
Statistic = Callable[[pd.DataFrame, np.random.Generator], Floats]

#: All networks of a zoo, whatever their series.
POOLED = "pooled"
#: A series counts where the range of its test accuracy is so many standard deviations of a network's seed, or more.
LEAST_RANGE = 3.0
#: The median τ must lie below this.
THRESHOLD = -0.3
#: Of fewer series the median says nothing.
FEWEST_SERIES = 3
RESAMPLES, PERMUTATIONS = 1000, 100


def networks(trials: pd.DataFrame, series: str, labels: str = "true") -> pd.DataFrame:
    """Return the networks of a series, or all, that were trained on ``"true"`` or ``"random"`` labels, in one order."""
    chosen = _trained_on(trials, labels)
    if chosen.empty:
        return chosen
    if series != POOLED:
        chosen = chosen[chosen["series"].isin(["base", series])]
    return chosen.assign(gap=chosen["train_accuracy"] - chosen["test_accuracy"]).sort_values(
        ["seed", *SERIES, "replica"]
    )


def _trained_on(trials: pd.DataFrame, labels: str) -> pd.DataFrame:
    if trials.empty or "test_accuracy" not in trials:
        return pd.DataFrame({"seed": []})
    return trials[(trials["part"] == "zoo") & (trials["labels"] == labels)]


def accuracy_range(trials: pd.DataFrame, series: str) -> float:
    """Return the range of the test accuracy over a series, in standard deviations between networks of one setting.

    The range is one of means over all zoos; the deviation is taken within zoo and setting. NaN where no setting has two
    networks of one zoo.
    """
    members = networks(trials, series)
    if members.empty:
        return float("nan")
    means = members.groupby(series)["test_accuracy"].mean()
    variance = members.groupby(["seed", series])["test_accuracy"].var().mean()
    return float((means.max() - means.min()) / np.sqrt(variance)) if variance > 0 else float("nan")


def counted(trials: pd.DataFrame) -> list[str]:
    """Return the series whose test accuracy differs enough for an order to mean something; none where they are too few.

    No weight is looked at.
    """
    found = [name for name in SERIES if accuracy_range(trials, name) >= LEAST_RANGE]
    return found if len(found) >= FEWEST_SERIES else []


def by_zoo(
    trials: pd.DataFrame,
    series: Sequence[str],
    statistic: Statistic,
    *,
    labels: str = "true",
    reduce: Callable[[Floats], Any] = np.mean,
) -> Numbers:
    """Return the median over series of a statistic of their networks, by zoo.

    Parameters
    ----------
    trials
        What ``judge`` is given.
    series
        Names of the series.
    statistic
        ``statistic(networks, rng) -> [draws]``; the generator depends on the seed of the zoo alone.
    labels
        On which the networks were trained.
    reduce
        Makes one number of the medians of all draws.

    Returns
    -------
    pandas.Series
        Indexed by seed; NaN where a zoo lacks networks that another one has, and where there are no series.
    """
    members = {name: networks(trials, name, labels) for name in series}
    whole = {name: table.groupby("seed").size().max() for name, table in members.items()}
    found = {}
    for seed in sorted(_trained_on(trials, labels)["seed"].unique()):
        zoo = {name: table[table["seed"] == seed] for name, table in members.items()}
        rng = np.random.default_rng(int(seed))
        complete = bool(zoo) and all(len(table) == whole[name] for name, table in zoo.items())
        draws = [statistic(table, rng) for table in zoo.values()] if complete else [np.array([np.nan])]
        found[int(seed)] = float(reduce(np.median(draws, axis=0)))
    return pd.Series(found, dtype=float)


def tau(number: str, target: str = "test_accuracy") -> Statistic:
    """Return the statistic τ between a number of the networks and a target."""
    return lambda zoo, rng: kendall_tau(zoo[number], zoo[target])


def resampled_tau(number: str) -> Statistic:
    """Return the statistic τ with the test accuracy of networks that are drawn anew, with replacement."""
    return lambda zoo, rng: kendall_tau(zoo[number], zoo["test_accuracy"], resamples(len(zoo), RESAMPLES, rng))


def permuted_tau(number: str) -> Statistic:
    """Return the statistic τ with test accuracies that are dealt out at random among the networks."""

    def statistic(zoo: pd.DataFrame, rng: np.random.Generator) -> Floats:
        accuracies = zoo["test_accuracy"].to_numpy()
        return np.concatenate([kendall_tau(zoo[number], rng.permutation(accuracies)) for _ in range(PERMUTATIONS)])

    return statistic


def lower_end(draws: Floats) -> float:
    """Return the lower end of the 95 % percentile interval."""
    return float(np.quantile(draws, 0.025))


def upper_end(draws: Floats) -> float:
    """Return the upper end of the 95 % percentile interval."""
    return float(np.quantile(draws, 0.975))


def lead(numbers: Numbers, rivals: pd.DataFrame) -> Numbers:
    """Return by how much −τ of one number exceeds the τ of its best rival, by zoo.

    The rival, and the sign that its τ is expected to have, are those with the largest |mean| over all other zoos: were
    they chosen by the zoo on which they are compared, the largest of several noisy values would be favoured.

    Parameters
    ----------
    numbers
        τ by seed; negative is good.
    rivals
        τ by seed, a column for each rival.
    """
    found = {}
    for seed in numbers.index:
        means = rivals.drop(index=seed).mean().dropna().to_dict()
        best = max(means, key=lambda name: abs(means[name]), default=None)
        found[seed] = np.nan if best is None else -numbers[seed] - np.sign(means[best]) * rivals[best][seed]
    return pd.Series(found, dtype=float)
