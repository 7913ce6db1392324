"""Concrete dropout: dropout whose rate is learnt by gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from deepscope.core import Specimen, UsageError
from deepscope.training._rate import above_zero, check


class ConcreteDropout(nn.Module):
    """Dropout with a rate p that is learnt: the mask is a smooth function of p and of a uniform number u.

    z = σ((log p − log(1 − p) + log u − log(1 − u))/t), y = x (1 − z)/(1 − p) in training; y = x in evaluation. As t → 0
    z becomes 1 with probability p and 0 otherwise; at every t it is above ½ with probability p. Where t > 0 the mean of
    (1 − z)/(1 − p) is near 1 and not 1: at t = 0.1 it is 0.9987 for p = 0.1, and 1 for p = ½. The one parameter is
    ``logit``, log p − log(1 − p).

    The loss is the samples' mean negative log-likelihood plus ``divergence(weight) / n`` for n training samples, which
    is what keeps p from 0 where the data do not. Source: ``gal2017concrete``.

    Parameters
    ----------
    p
        What the rate begins with, above 0 and below 1.
    temperature
        t.

    Raises
    ------
    UsageError
        p is not in (0, 1), or t not above 0; when called: an input that is not of floating-point numbers.

    Examples
    --------
    >>> layer = ConcreteDropout(0.2)
    >>> layer(torch.zeros(2, 8)).shape, round(layer.p().item(), 6), layer.divergence(torch.zeros(3, 8)).ndim
    (torch.Size([2, 8]), 0.2, 0)
    """

    def __init__(self, p: float = 0.1, *, temperature: float = 0.1) -> None:
        super().__init__()
        if not 0 < p < 1:
            raise UsageError(f"p is {p!r}", where="ConcreteDropout", todo="Give a share above 0 and below 1.")
        self.temperature = above_zero(temperature, "temperature", "ConcreteDropout")
        self.logit = nn.Parameter(torch.tensor(math.log(p) - math.log1p(-p)))

    def p(self) -> Tensor:
        """Return the rate."""
        return self.logit.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a relaxed mask in training, x in evaluation."""
        check(x, True, "a tensor", "ConcreteDropout")
        if not self.training:
            return x
        # Numbers of 16 bits are too coarse for small rates.
        u = torch.rand_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
        smallest = torch.finfo(u.dtype).eps
        return x * self.relaxed_mask(u.clamp(smallest, 1 - smallest)).to(x.dtype)

    def relaxed_mask(self, u: Tensor) -> Tensor:
        """Return (1 − z)/(1 − p) for uniform numbers u in (0, 1), of any shape."""
        relaxed = (self.logit + u.log() - (-u).log1p()) / self.temperature
        # Of p near 1 both are too small for a quotient.
        return (logsigmoid(-relaxed) - logsigmoid(-self.logit)).exp()

    def divergence(self, weight: Tensor, *, length_scale: float = 1.0) -> Tensor:
        """Return the Kullback–Leibler divergence of the dropped weights from a normal prior, up to a constant.

        l²/(2 (1 − p)) ‖W‖² − K H(p), with H(p) = −p log p − (1 − p) log(1 − p) in nats: the paper's for M = W/(1 − p),
        as what is kept is scaled here.

        Parameters
        ----------
        weight
            [out, K, …], W of the layer that reads the K units which are dropped.
        length_scale
            l of the prior N(0, 1/l²) on each weight.

        Raises
        ------
        UsageError
            A weight without a second dimension; a length that is not above 0.
        """
        check(weight, weight.ndim >= 2, "a weight [out, units, …]", "ConcreteDropout")
        scale = above_zero(length_scale, "length_scale", "ConcreteDropout")
        p, kept = self.logit.sigmoid(), torch.sigmoid(-self.logit)
        entropy = -p * logsigmoid(self.logit) - kept * logsigmoid(-self.logit)
        return scale**2 / (2 * kept) * weight.square().sum() - weight.shape[1] * entropy

    def extra_repr(self) -> str:
        """Return the temperature."""
        return f"temperature={self.temperature}"


SPECIMENS = (
    Specimen(
        name="concrete-dropout",
        title="dropout with a learnt rate",
        build=ConcreteDropout,
        formula="z = σ((log(p/(1 − p)) + log(u/(1 − u)))/t), u uniform, y = x (1 − z)/(1 − p): dropout as t → 0, with "
        "a gradient for p. The loss has l²/(2 (1 − p)) ‖W‖² − K H(p) for the weights W that read the K units.",
        source="gal2017concrete",
        pinned_by="tests/training/test_concrete_dropout.py::test_the_learnt_rate_is_the_optimum_of_a_known_objective",
    ),
)
