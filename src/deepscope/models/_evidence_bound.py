"""Lower bounds of a latent-variable model's log-likelihood: of the evidence, and with importance weights."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models._autoencoder import check_batch
from deepscope.models._draws import standard_normal
from deepscope.models._observations import gaussian_log_density


class LatentVariableModel(Protocol):
    """A model p(x | z) p(z) with z standard normal, and a Gaussian q(z | x) of independent numbers.

    What is conditioned on, such as labels, follows x.
    """

    def encode(self, x: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of q(z | x), both [batch, latent]."""
        ...

    def log_likelihood(self, x: Tensor, z: Tensor, *given: Any) -> Tensor:
        """Return ln p(x | z), [samples, batch], of z, [samples, batch, latent]."""
        ...


def unit_divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, v) ‖ N(0, 1)) = ½ (m² + v − 1 − ln v) of each number of its own, [batch, latent].

    A unit of the code where it is nearly 0 for all samples tells nothing of them: it has collapsed.
    Source: ``kingma2014auto``.

    Examples
    --------
    >>> unit_divergences(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2)).tolist()
    [[0.0, 2.0]]
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def elbo(
    model: LatentVariableModel,
    x: Tensor,
    *given: Any,
    samples: int = 1,
    weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return an unbiased estimate of E_q ln p(x | z) − β KL(q(z | x) ‖ p(z)) of each sample, [batch], in nats.

    With β = 1 this is the evidence lower bound, ln p(x) − KL(q(z | x) ‖ p(z | x)). The divergence is exact; the first
    term is the mean over draws z = m + s ε, which the gradient passes. Costs one encoding and so many decodings.
    Source: ``kingma2014auto``.

    Parameters
    ----------
    model
        The model.
    x, given
        [batch, …], and what the model conditions on.
    samples
        Number of draws of z for each x.
    weight
        β, at least 0.
    generator
        Draws ε; torch's own unless given.

    Raises
    ------
    UsageError
        No samples, no draws, a negative weight; what the model refuses.

    Examples
    --------
    >>> from deepscope.models import VAE
    >>> elbo(VAE(6, (4,), 2), torch.zeros(5, 6)).shape
    torch.Size([5])
    """
    if not weight >= 0:
        raise UsageError(f"weight is {weight!r}", where="elbo", todo="Give a number of at least 0.")
    mean, log_variance, z = _draw(model, x, given, samples, generator, "elbo")
    likelihood = model.log_likelihood(x, z, *given).mean(0)
    return likelihood - weight * unit_divergences(mean, log_variance).sum(-1)


def negative_elbo(
    model: LatentVariableModel,
    x: Tensor,
    *given: Any,
    samples: int = 1,
    weight: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean of −``elbo`` over samples: the loss that trains a variational autoencoder.

    Raises
    ------
    UsageError
        As ``elbo``.

    Examples
    --------
    >>> from deepscope.models import VAE
    >>> negative_elbo(VAE(6, (4,), 2), torch.zeros(5, 6)).shape
    torch.Size([])
    """
    return -elbo(model, x, *given, samples=samples, weight=weight, generator=generator).mean()


def importance_bound(
    model: LatentVariableModel, x: Tensor, *given: Any, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return ln (1/k) Σ p(x, zᵢ)/q(zᵢ | x) of each sample, [batch], in nats, with k draws zᵢ of q.

    Its mean is a lower bound of ln p(x) that rises with k, from the evidence lower bound at k = 1, and tends to ln p(x)
    where the ratio is bounded: with many draws it estimates the log-likelihood. Source: ``burda2016importance``.

    Parameters
    ----------
    model
        The model.
    x, given
        [batch, …], and what the model conditions on.
    samples
        k.
    generator
        Draws z; torch's own unless given.

    Raises
    ------
    UsageError
        No samples, no draws; what the model refuses.

    Examples
    --------
    >>> from deepscope.models import VAE
    >>> importance_bound(VAE(6, (4,), 2), torch.zeros(5, 6), samples=10).shape
    torch.Size([5])
    """
    mean, log_variance, z = _draw(model, x, given, samples, generator, "importance_bound")
    prior = gaussian_log_density(z, torch.zeros_like(z), torch.zeros_like(z))
    ratio = model.log_likelihood(x, z, *given) + prior - gaussian_log_density(z, mean, log_variance)
    return ratio.logsumexp(0) - math.log(samples)


def _draw(
    model: LatentVariableModel,
    x: Tensor,
    given: tuple[Any, ...],
    samples: int,
    generator: torch.Generator | None,
    where: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and log-variance of q(z | x), and draws of it, [samples, batch, latent]."""
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise UsageError(f"samples is {samples!r}", where=where, todo="Give a whole number of draws, at least 1.")
    mean, log_variance = model.encode(check_batch(x, where), *given)
    noise = standard_normal((samples, *mean.shape), mean, generator)
    return mean, log_variance, mean + (log_variance / 2).exp() * noise
