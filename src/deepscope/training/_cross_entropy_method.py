"""The cross-entropy method: search by fitting a distribution to its best samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from deepscope.core import Specimen
from deepscope.training._optimizer_arguments import require
from deepscope.training._product_distributions import checked_product, draw, elite_size, moments, scores_of


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossEntropySearch:
    """What ``cross_entropy_method`` found.

    Attributes
    ----------
    status
        ``"ok"``, or that the distribution has not closed in on one point, or that no sample was allowed.
    best
        The sample of the highest score, [d]; None where none was allowed.
    score
        Its score; −inf where none was allowed.
    distribution
        The last one.
    levels
        Lowest score among the elite of each step.
    """

    status: str
    best: Tensor | None
    score: float
    distribution: Normal | Bernoulli
    levels: tuple[float, ...]


def cross_entropy_method(
    score: Callable[[Tensor], Tensor],
    start: Normal | Bernoulli,
    *,
    samples: int = 200,
    elite: float = 0.1,
    smoothing: float = 0.7,
    max_steps: int = 100,
    tolerance: float = 1e-3,
    generator: torch.Generator,
) -> CrossEntropySearch:
    """Maximise a function of d independent numbers or bits, without gradients.

    Each step draws samples, keeps the elite of the highest scores, and moves the distribution's parameters v towards
    the v* under which the elite is likeliest, v ← αv* + (1 − α)v: the means and standard deviations of a normal
    distribution, the frequencies of bits. For −x², many samples and α = 1, a normal distribution around 0 keeps
    1 − 2qφ(q)/ϱ of its variance a step, ϱ the elite's share, φ the normal density and q its quantile (1 + ϱ)/2.
    Source: ``rubinstein2004cross``.

    Parameters
    ----------
    score
        Maps samples [n, d] to what is to be large, [n]; −inf where a sample is not allowed, which then is never of the
        elite.
    start
        The first distribution, with parameters [d].
    samples, elite
        Number of samples a step, and ϱ, the share of them that is kept.
    smoothing
        α.
    max_steps, tolerance
        It ends when every standard deviation, or every probability's distance to 0 or 1, is within the tolerance.
    generator
        The result is a function of its state.

    Raises
    ------
    UsageError
        An argument is out of range, or the elite would be less than two samples.
    MeasurementError
        A score is NaN, or the scores have another shape.

    Notes
    -----
    Costs ``samples`` evaluations a step. What it closes in on is no certain optimum: smaller α and more samples make it
    likelier.

    Examples
    --------
    >>> found = cross_entropy_method(
    ...     lambda x: -(x - 3).square().sum(dim=1),
    ...     Normal(torch.zeros(2), torch.full((2,), 5.0)),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> found.status, found.best.round(decimals=2).tolist()
    ('ok', [3.0, 3.0])
    """
    where = "cross_entropy_method"
    checked_product(start, (Normal, Bernoulli), name="start", where=where)
    kept = elite_size(elite, samples, where=where)
    require(0 < smoothing <= 1, "smoothing", smoothing, "above 0 and at most 1", where=where)
    require(max_steps >= 1, "max_steps", max_steps, "at least 1", where=where)
    require(tolerance > 0, "tolerance", tolerance, "above 0", where=where)
    distribution, levels, status = start, list[float](), "no sample was allowed"
    best, best_score = None, -math.inf
    while len(levels) < max_steps and status != "ok":
        drawn = draw(distribution, samples, generator)
        scores, order = scores_of(score, drawn, where=where).sort(descending=True)
        if scores[0] > best_score:
            best, best_score, status = drawn[order[0]], float(scores[0]), "not converged"
        levels.append(float(scores[kept - 1]))
        chosen = drawn[order[:kept]][scores[:kept] > -math.inf]
        # One sample alone would say that there is no spread.
        if len(chosen) >= 2:
            distribution = _towards(distribution, chosen, smoothing)
            if _spread(distribution) <= tolerance:
                status = "ok"
    return CrossEntropySearch(
        status=status, best=best, score=best_score, distribution=distribution, levels=tuple(levels)
    )


def _towards(distribution: Normal | Bernoulli, chosen: Tensor, smoothing: float) -> Normal | Bernoulli:
    mean, deviation = moments(chosen, chosen.new_zeros(len(chosen)))
    mean = torch.lerp(distribution.mean, mean, smoothing)
    if isinstance(distribution, Bernoulli):
        # A mean of ones may be rounded to above 1.
        return Bernoulli(mean.clamp(0, 1))
    # A distribution that has closed in on one point would have no density.
    smallest = torch.finfo(mean.dtype).tiny
    return Normal(mean, torch.lerp(distribution.stddev, deviation, smoothing).clamp(min=smallest))


def _spread(distribution: Normal | Bernoulli) -> float:
    if isinstance(distribution, Normal):
        return float(distribution.stddev.max())
    return float(torch.minimum(distribution.mean, 1 - distribution.mean).max())


SPECIMENS = (
    Specimen(
        name="cross-entropy-method",
        title="search by refitting a distribution to its best samples",
        build=cross_entropy_method,
        formula=(
            "Draw from p(·; v); v* maximises the likelihood of the share ϱ of highest score; v ← αv* + (1 − α)v. For "
            "rare events the likelihood is weighted by p(·; u)/p(·; v), u the given parameters."
        ),
        source="rubinstein2004cross",
        rows=("cem",),
        pinned_by=(
            "tests/training/test_cross_entropy_method.py::"
            "test_an_event_of_probability_1e_9_is_measured_and_a_maximum_cut_of_40_vertices_is_found"
        ),
    ),
)
