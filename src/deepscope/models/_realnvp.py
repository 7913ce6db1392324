"""RealNVP: a normalising flow of affine coupling layers, with an exact density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._affine_coupling import AffineCoupling, at_least_two
from deepscope.models._autoencoder import check_batch
from deepscope.models._draws import standard_normal
from deepscope.models._inputs import values
from deepscope.models._sizes import check_shape, positive


class RealNVP(nn.Module):
    """Normalising flow of affine coupling layers: z = f(x), ln p(x) = ln N(z; 0, I) + ln |det ∂f/∂x|.

    Layers keep the features of even and of odd places in turn. Maps [batch, features] to z, [batch, features];
    ``log_prob`` is the density of x, ``inverse`` and ``sample`` go from z to x, all of them exactly and at the cost of
    one evaluation of each layer's perceptron. It begins as the identity. Source: ``dinh2017density``; the reference
    size is that of ``papamakarios2017masked`` for tables of 6 features, without their batch normalisation between
    layers and with one perceptron for both of a layer's functions.

    Parameters
    ----------
    features
        Number of values per sample, at least 2.
    num_layers
        Number of coupling layers: with 2 every value is changed once, and 3 or more are needed for a value to depend on
        all others.
    hidden
        Widths of the hidden layers of each perceptron.
    activation
        As ``MLP`` takes it.

    Raises
    ------
    UsageError
        A size below 1, fewer than 2 features; when called: inputs of another size or precision.

    Examples
    --------
    >>> model = RealNVP(2, 4, (16,))
    >>> model(torch.zeros(5, 2)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 2]), 268)
    >>> round(model.log_prob(torch.zeros(1, 2)).exp().item(), 4)
    0.1592
    >>> model.sample(3, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        features: int = 6,
        num_layers: int = 10,
        hidden: Sequence[int] = (100, 100),
        *,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.features = at_least_two(features, self)
        self.layers = nn.ModuleList(
            AffineCoupling(features, hidden, odd=bool(index % 2), activation=activation)
            for index in range(positive(num_layers, "num_layers", self))
        )

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z, [batch, features], and ln |det ∂z/∂x|, [batch]."""
        check_shape(x, [self.features], self)
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, log_determinant = cast(AffineCoupling, layer).transform(x)
            total = total + log_determinant
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        """Return the x of z, [batch, features]."""
        check_shape(z, [self.features], self)
        for layer in reversed(self.layers):
            z = cast(AffineCoupling, layer).inverse(z)
        return z

    def log_prob(self, x: Tensor) -> Tensor:
        """Return ln p(x), [batch], in nats."""
        z, log_determinant = self.transform(x)
        return log_determinant - (z.square().sum(1) + self.features * math.log(2 * math.pi)) / 2

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n samples of p, [n, features]."""
        like = next(self.parameters())
        return self.inverse(standard_normal((positive(n, "n", self), self.features), like, generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return z."""
        return self.transform(x)[0]


def negative_log_likelihood(model: RealNVP, x: Tensor) -> Tensor:
    """Return the mean of −ln p(x) over samples, in nats: the loss that trains a normalising flow.

    Continuous densities are not bounded: on a finite set of points it has no least value.

    Raises
    ------
    UsageError
        No samples; inputs of another size or precision.

    Examples
    --------
    >>> round(negative_log_likelihood(RealNVP(2, 4, (16,)), torch.zeros(5, 2)).item(), 4)
    1.8379
    """
    return -model.log_prob(check_batch(x, "negative_log_likelihood")).mean()


SPECIMENS = (
    Specimen(
        name="realnvp",
        title="RealNVP normalising flow of a table",
        build=RealNVP,
        inputs=values(6),
        parameters=111_090,
        formula="Layers (a, b) → (a, b ∘ exp(s(a)) + t(a)) on the halves of the features in turn give z = f(x); "
        "ln p(x) = ln N(f(x); 0, I) + Σ s.",
        source="dinh2017density",
        pinned_by="tests/models/test_realnvp.py::test_its_log_determinant_is_autograds_and_its_inverse_exact",
    ),
)
