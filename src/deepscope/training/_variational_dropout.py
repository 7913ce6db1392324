"""Variational dropout: a linear layer whose weights have normal noise of learnt variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from deepscope.core import Specimen
from deepscope.training._rate import check, count

#: Of the fit to the divergence, its authors' values.
_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695


class VariationalLinear(nn.Module):
    """Linear layer with weights w ~ N(θ, α θ²) whose noise α is learnt for each of them.

    Maps […, in_features] to […, out_features]. The noise is not drawn for the weights but for what they add up to, for
    each output of each sample (local reparametrisation): y ~ N(θ x + b, (α θ²) x²), which is the same distribution of
    a sample's output, while the noise in the gradient of a batch no longer adds up over its samples. In evaluation
    y = θ x + b. A loss is the samples' mean negative log-likelihood plus ``divergence() / n`` for n training samples;
    a weight whose α grows without bound is noise, and can be left out (log α > 3 in the second source). The parameters
    are θ (``weight``), log(α θ²) (``log_variance``) and b: out_features (2 in_features + 1); a call costs two products
    of matrices. Sources: ``kingma2015variational``; the divergence for any α, and α θ² in place of α as what is learnt,
    ``molchanov2017variational``.

    Parameters
    ----------
    in_features, out_features
        Sizes.
    log_variance
        What all log(α θ²) begin with.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another size or not of floating-point numbers.

    Examples
    --------
    >>> layer = VariationalLinear(8, 3)
    >>> layer(torch.zeros(2, 8)).shape, sum(p.numel() for p in layer.parameters()), layer.divergence().ndim
    (torch.Size([2, 3]), 51, 0)
    """

    def __init__(self, in_features: int, out_features: int, *, log_variance: float = -10.0) -> None:
        super().__init__()
        self.in_features = count(in_features, "in_features", "VariationalLinear")
        self.out_features = count(out_features, "out_features", "VariationalLinear")
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.log_variance = nn.Parameter(torch.full((out_features, in_features), float(log_variance)))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return an output of a draw of the weights for each sample in training, that of their means in evaluation."""
        fits = x.ndim > 0 and x.shape[-1] == self.in_features
        check(x, fits, f"[…, {self.in_features}]", "VariationalLinear")
        mean = linear(x, self.weight, self.bias)
        if not self.training:
            return mean
        variance = linear(x.square(), self.log_variance.exp())
        # The root has no derivative at 0, which is the variance of an input of zeros.
        none = variance == 0
        deviation = variance.masked_fill(none, 1).sqrt().masked_fill(none, 0)
        return mean + deviation * torch.randn_like(mean)

    def log_alpha(self) -> Tensor:
        """Return log α of each weight, [out_features, in_features]."""
        return self.log_variance - self.weight.square().clamp_min(torch.finfo(self.weight.dtype).tiny).log()

    def divergence(self) -> Tensor:
        """Return the weights' Kullback–Leibler divergence from the log-uniform prior, in nats, up to that at α = ∞.

        For one weight E log|1 + ε/√α| with ε ~ N(0, 1), plus a constant; by the second source's fit
        ½ log(1 + 1/α) + k₁ (1 − σ(k₂ + k₃ log α)), which is within 0.01 of it everywhere.
        """
        log_alpha = self.log_alpha()
        fit = 0.5 * softplus(-log_alpha) + _K1 * torch.sigmoid(-(_K2 + _K3 * log_alpha))
        return fit.sum()

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


SPECIMENS = (
    Specimen(
        name="variational-dropout",
        title="Gaussian dropout of weights with learnt rates",
        build=VariationalLinear,
        formula="w ~ N(θ, α θ²) for each weight, drawn as y ~ N(θ x, (α θ²) x²) for each output of each sample; the "
        "loss has the divergence of w's distribution from the log-uniform prior, which depends on α alone.",
        source="kingma2015variational",
        rows=("variational-dropout",),
        pinned_by="tests/verify/test_noisy_networks.py::test_noise_of_outputs_is_less_and_four_fifths_of_weights_can_go",
    ),
)
