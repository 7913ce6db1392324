"""What a decoder's outputs say of the values: a Bernoulli or a Gaussian distribution of each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError, nearest
from deepscope.models._draws import standard_normal, uniform


class Bernoulli(nn.Module):
    """ln p(x) = Σᵢ xᵢ ln pᵢ + (1 − xᵢ) ln(1 − pᵢ) with pᵢ = σ(outputᵢ), for values between 0 and 1.

    For values that are neither it is a bound's first term still, and no likelihood: p is no density between 0 and 1.
    """

    outputs_per_value = 1

    def mean(self, outputs: Tensor) -> Tensor:
        """Return p."""
        return outputs.sigmoid()

    def log_likelihood(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Return ln p(x), [..., batch], of values [batch, features]."""
        low, high = (float(each) for each in x.detach().aminmax()) if x.numel() else (0.0, 1.0)
        if low < 0 or high > 1:
            raise UsageError(
                f"values run from {low:.3g} to {high:.3g}",
                where="x",
                todo='Give values from 0 to 1, or build the model with observations="gaussian".',
            )
        loss = functional.binary_cross_entropy_with_logits(outputs, x.expand_as(outputs), reduction="none")
        return -loss.sum(-1)

    def sample(self, outputs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw values, 0 or 1."""
        return (uniform(outputs.shape, outputs, generator) < self.mean(outputs)).to(outputs)


class Gaussian(nn.Module):
    """ln p(x) = −½ Σᵢ (ln 2π + ln vᵢ + (xᵢ − mᵢ)²/vᵢ), where the outputs are the m and after them the ln v."""

    outputs_per_value = 2

    def mean(self, outputs: Tensor) -> Tensor:
        """Return m."""
        return outputs.chunk(2, -1)[0]

    def log_likelihood(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Return ln p(x), [..., batch], of values [batch, features]."""
        return gaussian_log_density(x, *outputs.chunk(2, -1))

    def sample(self, outputs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw values."""
        mean, log_variance = outputs.chunk(2, -1)
        return mean + (log_variance / 2).exp() * standard_normal(mean.shape, mean, generator)


def gaussian_log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of independent Gaussian values, summed over the last dimension."""
    terms = math.log(2 * math.pi) + log_variance + (x - mean).square() * (-log_variance).exp()
    return -terms.sum(-1) / 2


_OBSERVATIONS: dict[str, type[Bernoulli] | type[Gaussian]] = {"bernoulli": Bernoulli, "gaussian": Gaussian}


def make_observations(name: str) -> Bernoulli | Gaussian:
    """Return the distribution of values by its name.

    Raises
    ------
    UsageError
        An unknown name.
    """
    if name not in _OBSERVATIONS:
        raise UsageError("unknown observations", where=str(name), todo=nearest(str(name), _OBSERVATIONS))
    return _OBSERVATIONS[name]()
