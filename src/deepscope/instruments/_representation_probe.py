"""What a linear readout makes of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.instruments._held_out_scores import accuracy, r_squared
from deepscope.instruments._labels import Labels

Floats = NDArray[np.float64]

#: Ridges that are tried, as shares of the largest variance of a direction.
_RIDGES = 10.0 ** np.arange(-7.0, 1.5, 0.5)
#: Variances below this share of the largest are rounding: the least ridge leaves nothing of them.
_ROUNDING = 1e-12
#: Orders of the labels behind the null.
_PERMUTATIONS = 40
#: Random layers, of which the worst is what one in twenty is below.
_RANDOM = 19
#: Fewest samples of which a half is a fit.
FEWEST = 8


@dataclass(frozen=True)
class Probe:
    """How well a linear readout does on samples that it was not fitted to.

    Attributes
    ----------
    score, low, high
        Accuracy for classes, R² for a regression's targets, with its 95 % interval.
    null, null_high
        What labels in random order reach: the mean, and what one of twenty orders exceeds.
    """

    score: float
    low: float
    high: float
    null: float
    null_high: float


def linear_probe(
    x: Floats, labels: Labels, rng: np.random.Generator, *, permutations: int = _PERMUTATIONS
) -> Probe | None:
    """Fit a ridge regression on one half of the samples and judge it on the other, and the other way round.

    Parameters
    ----------
    x
        Features, [n, d].
    labels
        Classes are predicted by the largest of regressions on their indicators.
    rng
        Draws the halves and the orders of labels of the null.
    permutations
        How many such orders.

    Returns
    -------
    Probe or None
        None with fewer than eight samples, or where the features are the same for all.

    Notes
    -----
    The ridge is the one of least leave-one-out error within the half that is fitted, in closed form
    (``craven1979smoothing``). Samples of one half share a fit, which the interval, Wilson's or the jackknife's over
    samples, does not know. The null keeps the ridge.
    """
    n = len(x)
    if n < FEWEST:
        return None
    order = rng.permutation(n)
    halves = (order[: n // 2], order[n // 2 :])
    orders = [rng.permutation(n) for _ in range(permutations)]
    predicted = np.empty_like(labels.values)
    shuffled = np.empty((permutations, *labels.values.shape))
    for fitted, judged in (halves, halves[::-1]):
        weights = _weights(x[fitted], x[judged], labels.values[fitted])
        if weights is None:
            return None
        predicted[judged] = _predict(weights, labels.values[fitted])
        for index, other in enumerate(orders):
            shuffled[index, judged] = _predict(weights, labels.values[other[fitted]])
    score, low, high = _score(predicted, labels, np.arange(n))
    nulls = np.array([_score(each, labels, other)[0] for each, other in zip(shuffled, orders, strict=True)])
    return Probe(score, low, high, float(nulls.mean()), float(np.quantile(nulls, 0.95)))


def through_random_weights(x: Floats, width: int, labels: Labels, rng: np.random.Generator) -> float | None:
    """Return what a probe reads behind the worst of 19 layers of random weights, which one in twenty is below.

    Each has ``width`` units, Gaussian weights on the centred features and a rectifier. None where a probe has nothing
    to read.

    Notes
    -----
    Cost: 19 probes.
    """
    centred = x - x.mean(axis=0)
    size = float(np.abs(centred).max(initial=0.0))
    if not size > 0:
        return None
    scores = []
    for _ in range(_RANDOM):
        units = np.maximum(0.0, centred / size @ rng.standard_normal((x.shape[1], width)))
        probe = linear_probe(units, labels, rng, permutations=1)
        if probe is None:
            return None
        scores.append(probe.score)
    return min(scores)


def _weights(x: Floats, other: Floats, y: Floats) -> Floats | None:
    """Return how much each fitted label counts in each prediction, [judged, fitted], for labels about their mean."""
    centre = x.mean(axis=0)
    X, Z = x - centre, other - centre
    wide = X.shape[1] > len(X)
    values, vectors = np.linalg.eigh(X @ X.T if wide else X.T @ X)
    kept = values > _ROUNDING * values[-1]
    if not kept.any():
        return None
    variances, vectors = values[kept], vectors[:, kept]
    left = vectors if wide else X @ vectors / np.sqrt(variances)
    turned, squares = left.T @ (y - y.mean(axis=0)), left**2
    errors = []
    ridges = _RIDGES * float(variances[-1])
    for ridge in ridges:
        shrunk = variances / (variances + ridge)
        residual = y - y.mean(axis=0) - left @ (shrunk[:, None] * turned)
        # The mean of the labels is fitted as well.
        held_out = residual / np.maximum(1 - 1 / len(x) - squares @ shrunk, 1e-12)[:, None]
        errors.append(float(np.sum(held_out**2)))
    ridge = ridges[int(np.argmin(errors))]
    along = Z @ X.T @ left if wide else Z @ vectors * np.sqrt(variances)
    found: Floats = along / (variances + ridge) @ left.T
    return found


def _predict(weights: Floats, y: Floats) -> Floats:
    mean = y.mean(axis=0)
    found: Floats = weights @ (y - mean) + mean
    return found


def _score(predicted: Floats, labels: Labels, order: NDArray[Any]) -> tuple[float, float, float]:
    if labels.classes is not None:
        # What differs by rounding alone, as of a sample that is there twice, is a tie, and the first class has it.
        return accuracy(np.round(predicted, 4).argmax(axis=1) == labels.classes[order])
    return r_squared(labels.values[order], predicted)
