"""The cross-entropy method for the probability of a rare event."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Exponential, Normal

from deepscope.training._optimizer_arguments import require
from deepscope.training._product_distributions import Product, checked_product, draw, elite_size, moments, scores_of


@dataclass(frozen=True, eq=False, kw_only=True)
class RareEvent:
    """A small probability.

    Attributes
    ----------
    status
        ``"ok"``, or why there is no estimate.
    probability
        Unbiased estimate; None without one.
    relative_error
        Its standard error over itself; None without one.
    distribution
        From which the samples of the estimate came.
    levels
        What score each step called rare; the last is the one asked for.
    """

    status: str
    probability: float | None
    relative_error: float | None
    distribution: Product
    levels: tuple[float, ...]


def rare_event(
    score: Callable[[Tensor], Tensor],
    level: float,
    nominal: Product,
    *,
    samples: int = 1000,
    elite: float = 0.1,
    final_samples: int = 10_000,
    max_steps: int = 100,
    generator: torch.Generator,
) -> RareEvent:
    """Estimate P(S(X) ≥ level) for X of independent components, by importance sampling.

    The distribution of parameters v, first the nominal u, is refitted in steps: of samples x its level is the score
    that the elite share reaches, at most the one asked for, and the next v is the likeliest for the samples above it,
    weighted by p(x; u)/p(x; v). Once the level is reached, the mean of these weights over final samples with
    S(x) ≥ level is the estimate. Source: ``rubinstein2004cross``.

    Parameters
    ----------
    score
        S: maps samples [n, d] to [n].
    level
        Of the event.
    nominal
        Distribution of X, with parameters [d]. A normal one keeps its scales, so that the weights stay bounded where it
        matters.
    samples, elite, max_steps
        Of each step.
    final_samples
        For the estimate.
    generator
        The result is a function of its state.

    Raises
    ------
    UsageError
        An argument is out of range.
    MeasurementError
        A score is NaN, or the scores have another shape.

    Notes
    -----
    Costs ``samples`` evaluations a step and ``final_samples`` for the estimate. The relative error is itself estimated,
    and too small where the event has a part that the distribution has not found.

    Examples
    --------
    P(X ≥ 6) of a standard normal number is 9.87e-10:

    >>> found = rare_event(
    ...     lambda x: x[:, 0], 6.0, Normal(torch.zeros(1), torch.ones(1)), generator=torch.Generator().manual_seed(0)
    ... )
    >>> found.status, 9e-10 < found.probability < 1.1e-9, found.relative_error < 0.05
    ('ok', True, True)
    """
    where = "rare_event"
    checked_product(nominal, (Normal, Bernoulli, Exponential), name="nominal", where=where)
    require(math.isfinite(level), "level", level, "as a finite number", where=where)
    kept = elite_size(elite, samples, where=where)
    require(final_samples >= 2, "final_samples", final_samples, "as 2 or more", where=where)
    require(max_steps >= 1, "max_steps", max_steps, "at least 1", where=where)
    distribution, levels = nominal, list[float]()
    while not levels or levels[-1] < level:
        if len(levels) == max_steps:
            return _without_estimate("the level was not reached", distribution, levels)
        drawn = draw(distribution, samples, generator)
        scores = scores_of(score, drawn, where=where)
        levels.append(min(level, float(scores.sort(descending=True).values[kept - 1])))
        above = scores >= levels[-1]
        mean, _ = moments(drawn[above], _log_weights(nominal, distribution, drawn[above]))
        distribution = _with_mean(nominal, mean)
    drawn = draw(distribution, final_samples, generator)
    hit = scores_of(score, drawn, where=where) >= level
    values = torch.where(hit, _log_weights(nominal, distribution, drawn), -torch.inf).exp()
    probability = float(values.mean())
    if probability == 0:
        return _without_estimate("no final sample reached the level", distribution, levels)
    return RareEvent(
        status="ok",
        probability=probability,
        relative_error=float(values.std()) / math.sqrt(final_samples) / probability,
        distribution=distribution,
        levels=tuple(levels),
    )


def _without_estimate(status: str, distribution: Product, levels: list[float]) -> RareEvent:
    return RareEvent(
        status=status, probability=None, relative_error=None, distribution=distribution, levels=tuple(levels)
    )


def _log_weights(nominal: Product, distribution: Product, samples: Tensor) -> Tensor:
    """Return log p(x; u) − log p(x; v) in float64: weights of very rare events are below what float32 holds."""
    ratio: Tensor = nominal.log_prob(samples) - distribution.log_prob(samples)  # type: ignore[no-untyped-call]
    return ratio.double().sum(dim=1)


def _with_mean(nominal: Product, mean: Tensor) -> Product:
    if isinstance(nominal, Normal):
        return Normal(mean, nominal.stddev)
    if isinstance(nominal, Bernoulli):
        # A bit that is certain would have no weight where the nominal distribution still draws the other.
        smallest = torch.finfo(mean.dtype).eps
        return Bernoulli(mean.clamp(smallest, 1 - smallest))
    return Exponential(1 / mean)
