"""DropConnect: a linear layer and its activation, whose single weights are dropped."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from deepscope.core import Specimen
from deepscope.training._rate import check, count, rate


class DropConnect(nn.Module):
    """Linear layer with an activation a, each of whose weights and biases is dropped with probability p.

    Maps [batch, in_features] to [batch, out_features]. In training y = a((M ∘ W) x + m ∘ b), with a mask of its own for
    each sample; nothing is scaled. In evaluation y is the mean of a(u) where u is normal and has the mean and variance
    that the sum has over all masks: μ = (1 − p) (W x + b), σ² = p (1 − p) ((W ∘ W) (x ∘ x) + b ∘ b). The paper averages
    over random draws of u; here they are ``points`` that split the normal distribution into equally likely parts,
    scaled to variance 1: the same at each call, exact for activations of degree 1 and 2, and nearer to the mean with
    fewer of them. There are out_features (in_features + 1) parameters; training holds a mask of as many for each
    sample. Source: ``wan2013regularization``.

    Parameters
    ----------
    in_features, out_features
        Sizes.
    p
        Share of weights that is dropped.
    activation
        a.
    points
        Values of u per output in evaluation.

    Raises
    ------
    UsageError
        A size below 1, or p not in [0, 1); when called: an input of another size or not of floating-point numbers.

    Examples
    --------
    >>> layer = DropConnect(8, 3)
    >>> layer(torch.zeros(2, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 3]), 27)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        *,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        points: int = 64,
    ) -> None:
        super().__init__()
        self.in_features = count(in_features, "in_features", "DropConnect")
        self.out_features = count(out_features, "out_features", "DropConnect")
        self.p, self.activation = rate(p, "p", "DropConnect"), activation
        self.points = count(points, "points", "DropConnect")
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of a mask for each sample in training, the mean over masks in evaluation."""
        fits = x.ndim == 2 and x.shape[1] == self.in_features
        check(x, fits, f"[batch, {self.in_features}]", "DropConnect")
        if self.training:
            kept, kept_bias = self._mask(x, *self.weight.shape), self._mask(x, self.out_features)
            sums = torch.einsum("noi,oi,ni->no", kept, self.weight, x) + kept_bias * self.bias
            dropped: Tensor = self.activation(sums)
            return dropped
        mean, variance = self.moments(x)
        # The root has no derivative at 0, which is the variance where nothing is dropped or an input is of zeros.
        none = variance == 0
        deviation = variance.masked_fill(none, 1).sqrt().masked_fill(none, 0)
        draws = mean + deviation * _normal_points(self.points, x)[:, None, None]
        outputs: Tensor = self.activation(draws)
        return outputs.mean(0)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the sums over all masks, both [batch, out_features]."""
        kept = 1 - self.p
        mean = kept * linear(x, self.weight, self.bias)
        variance = self.p * kept * linear(x.square(), self.weight.square(), self.bias.square())
        return mean, variance

    def _mask(self, x: Tensor, *shape: int) -> Tensor:
        # A third of the time that bernoulli_ takes, which is most of the layer's.
        return (torch.rand(len(x), *shape, device=x.device) >= self.p).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the sizes and p."""
        return f"in_features={self.in_features}, out_features={self.out_features}, p={self.p}"


def _normal_points(points: int, like: Tensor) -> Tensor:
    if points == 1:
        return like.new_zeros(1)
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    values: Tensor = torch.special.ndtri(middles)
    return (values / values.square().mean().sqrt()).to(like)


SPECIMENS = (
    Specimen(
        name="dropconnect",
        title="dropout of single weights",
        build=DropConnect,
        formula="y = a((M ∘ W) x) in training, M of 0 with probability p and 1 otherwise, drawn for each sample; in "
        "evaluation the mean of a(u), u ~ N((1 − p) W x, p (1 − p) (W ∘ W)(x ∘ x)). The bias is a weight of W.",
        source="wan2013regularization",
        pinned_by="tests/training/test_dropconnect.py::test_mean_and_variance_are_those_of_all_masks",
    ),
)
