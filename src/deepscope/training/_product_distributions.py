"""Distributions of independent components, drawn from and fitted to weighted samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Exponential, Normal

from deepscope.core import MeasurementError
from deepscope.training._optimizer_arguments import require

Product = Normal | Bernoulli | Exponential


def checked_product(distribution: object, allowed: tuple[type, ...], *, name: str, where: str) -> None:
    """Refuse what is no distribution of [d] components of one of these families."""
    names = " or ".join(each.__name__ for each in allowed)
    shape = list(distribution.batch_shape) if isinstance(distribution, Distribution) else []
    fits = isinstance(distribution, allowed) and len(shape) == 1 and shape[0] > 0
    require(fits, name, distribution, f"as torch.distributions' {names} of parameters [d]", where=where)


def draw(distribution: Product, count: int, generator: torch.Generator) -> Tensor:
    """Return samples, [count, d], that are a function of the generator's state."""
    mean: Tensor = distribution.mean
    drawn = torch.randn if isinstance(distribution, Normal) else torch.rand
    noise = drawn(count, len(mean), generator=generator, device=generator.device, dtype=mean.dtype).to(mean.device)
    if isinstance(distribution, Normal):
        return mean + distribution.stddev * noise
    if isinstance(distribution, Bernoulli):
        return (noise < mean).to(mean.dtype)
    return -mean * torch.log1p(-noise)


def elite_size(elite: float, samples: int, *, where: str) -> int:
    """Return ⌈elite · samples⌉, as if the share's decimals were exact, or refuse what leaves fewer than two.

    Raises
    ------
    UsageError
        The share is not between 0 and 1, or there are too few samples for an elite of two.
    """
    require(0 < elite < 1, "elite", elite, "above 0 and below 1", where=where)
    least = math.floor(1 / elite + 1e-9) + 1
    require(samples >= least, "samples", samples, f"as {least} or more for an elite of two", where=where)
    return math.ceil(elite * samples - 1e-9)


def moments(samples: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted mean and standard deviation of each component, [d]: the likeliest parameters."""
    weights = log_weights.softmax(dim=0).to(samples.dtype).unsqueeze(1)
    mean = (weights * samples).sum(dim=0)
    return mean, (weights * (samples - mean).square()).sum(dim=0).sqrt()


def scores_of(score: Callable[[Tensor], Tensor], samples: Tensor, *, where: str) -> Tensor:
    """Return the scores of samples, [n].

    Raises
    ------
    MeasurementError
        They are not one number each, or one is NaN.
    """
    scores = score(samples)
    if not isinstance(scores, Tensor) or scores.shape != samples.shape[:1]:
        got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise MeasurementError(
            f"the scores of {len(samples)} samples are {got}", where=where, todo="Return one number a sample, [n]."
        )
    if scores.isnan().any():
        raise MeasurementError("a score is NaN", where=where, todo="Score what is not allowed as −inf.")
    return scores
