"""How good predicted probabilities are, as they stand and at the temperature that suits them best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

#: Inverse temperatures are looked for up to this factor from 1.
_WIDEST = 100.0
#: Of confidence, as the source of the calibration error has it.
BINS = 15


@dataclass(frozen=True)
class Scores:
    """Of one set of predictions.

    Attributes
    ----------
    nll, own_nll
        Negative log-likelihood of the test images in nats, as predicted and at the own temperature.
    validation_nll, validation_own_nll
        Those of the validation images.
    temperature
        The one that suits the validation images best.
    accuracy, calibration_error
        Of the test images, as predicted.
    """

    nll: float
    own_nll: float
    validation_nll: float
    validation_own_nll: float
    temperature: float
    accuracy: float
    calibration_error: float


def scores(probabilities: Tensor, targets: Tensor, n_validation: int) -> Scores:
    """Judge probabilities [n, classes] of the validation images, which come first, and of the test images.

    At a temperature T probabilities are proportional to p^(1/T). Its value is found on the validation images, for each
    set of predictions by itself, so that predictions that are only softer than others score as they do
    (``guo2017calibration``, ``ashukha2020pitfalls``).
    """
    log_p = probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()
    known, unknown = (log_p[:n_validation], targets[:n_validation]), (log_p[n_validation:], targets[n_validation:])
    inverse = best_inverse_temperature(*known)
    answers = probabilities[n_validation:]
    return Scores(
        nll=negative_log_likelihood(*unknown),
        own_nll=negative_log_likelihood(*unknown, inverse),
        validation_nll=negative_log_likelihood(*known),
        validation_own_nll=negative_log_likelihood(*known, inverse),
        temperature=1 / inverse,
        accuracy=accuracy(answers, unknown[1]),
        calibration_error=calibration_error(answers, unknown[1]),
    )


def negative_log_likelihood(log_p: Tensor, targets: Tensor, inverse_temperature: float = 1.0) -> float:
    """Return the mean of −log q, q ∝ p^(1/T) the probability of the target, in nats.

    >>> p = torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=torch.float64)
    >>> round(negative_log_likelihood(p.log(), torch.tensor([0, 1])), 4)  # −½ log 0.4
    0.4581
    """
    return torch.nn.functional.cross_entropy(inverse_temperature * log_p, targets).item()


def best_inverse_temperature(log_p: Tensor, targets: Tensor) -> float:
    """Return the 1/T at which the negative log-likelihood is least; 100 or 1/100 where it is least beyond.

    It is convex in 1/T, with the derivative E[Σ q log p − log p(target)].

    Notes
    -----
    Costs some ten softmaxes.
    """
    right = log_p.gather(1, targets[:, None]).mean().item()

    def slope(log_inverse: float) -> float:
        q = torch.softmax(math.exp(log_inverse) * log_p, dim=1)
        return (q * log_p).sum(dim=1).mean().item() - right

    end = math.log(_WIDEST)
    if slope(-end) >= 0:
        return 1 / _WIDEST
    if slope(end) <= 0:
        return _WIDEST
    return math.exp(brentq(slope, -end, end, xtol=1e-9))


def accuracy(probabilities: Tensor, targets: Tensor) -> float:
    """Return the share of right answers."""
    return (probabilities.argmax(dim=1) == targets).double().mean().item()


def disagreement(one: Tensor, other: Tensor) -> float:
    """Return the share of samples to which two predictors give different answers."""
    return (one.argmax(dim=1) != other.argmax(dim=1)).double().mean().item()


def calibration_error(probabilities: Tensor, targets: Tensor) -> float:
    """Return the expected calibration error: mean |accuracy − confidence| over 15 equal bins of confidence.

    Bins weigh by their samples (``guo2017calibration``).

    >>> calibration_error(torch.tensor([[0.75, 0.25]] * 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1]))
    0.0
    """
    confidence, answers = probabilities.max(dim=1)
    gap = (answers == targets).to(confidence) - confidence
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(BINS, dtype=gap.dtype, device=gap.device).index_add_(0, bins, gap)
    return (sums.abs().sum() / len(gap)).item()
