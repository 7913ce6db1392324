"""Affine coupling layer: an invertible map with a triangular Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._mlp import MLP
from deepscope.models._sizes import check_shape, positive


class AffineCoupling(nn.Module):
    """Affine coupling: of x = (a, b), y = (a, b ∘ exp(s(a)) + t(a)), with the inverse (a, (b − t(a)) ∘ exp(−s(a))).

    s and t may be any functions of a: the Jacobian is triangular, and its log-determinant Σ s(a). s = c ∘ tanh(s̃(a))
    with a learned factor c for each feature, which bounds it. a are the features of even places, b the others; with
    ``odd`` it is the other way round. Maps [batch, features] to [batch, features]. s̃ and t are one perceptron's
    outputs, whose last weights begin at 0, so that the layer begins as the identity; with A and B the numbers of the
    two halves it has the parameters of ``MLP(A, hidden, 2B)``, and B. Source: ``dinh2017density``.

    Parameters
    ----------
    features
        At least 2.
    hidden
        Widths of the perceptron's hidden layers.
    odd
        Whether those of odd places are kept, and those of even places changed.
    activation
        As ``MLP`` takes it.

    Raises
    ------
    UsageError
        A size below 1, fewer than 2 features; when called: inputs of another size or precision.

    Examples
    --------
    >>> layer = AffineCoupling(4, (8,))
    >>> y, log_determinant = layer.transform(torch.ones(3, 4))
    >>> y.shape, log_determinant.tolist()
    (torch.Size([3, 4]), [0.0, 0.0, 0.0])
    """

    kept: Tensor
    changed: Tensor

    def __init__(
        self, features: int, hidden: Sequence[int] = (100, 100), *, odd: bool = False, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.features = at_least_two(features, self)
        for width in hidden:
            positive(width, "hidden", self)
        places = torch.arange(features)
        self.register_buffer("kept", places[int(odd) :: 2], persistent=False)
        self.register_buffer("changed", places[1 - int(odd) :: 2], persistent=False)
        self.network = MLP(len(self.kept), hidden, 2 * len(self.changed), activation=activation)
        for each in cast(nn.Linear, self.network.output).parameters():
            nn.init.zeros_(each)
        self.scale = nn.Parameter(torch.ones(len(self.changed)))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y, [batch, features], and ln |det ∂y/∂x|, [batch]."""
        check_shape(x, [self.features], self)
        log_scale, shift = self._terms(x)
        y = x.index_copy(1, self.changed, x[:, self.changed] * log_scale.exp() + shift)
        return y, log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the x of y, [batch, features]."""
        check_shape(y, [self.features], self)
        log_scale, shift = self._terms(y)
        return y.index_copy(1, self.changed, (y[:, self.changed] - shift) * (-log_scale).exp())

    def forward(self, x: Tensor) -> Tensor:
        """Return y."""
        return self.transform(x)[0]

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(x[:, self.kept]).chunk(2, 1)
        return self.scale * raw.tanh(), shift


def at_least_two(features: int, owner: object) -> int:
    """Return a number of features, or refuse one below 2, which has no halves.

    Raises
    ------
    UsageError
        It is.
    """
    if positive(features, "features", owner) < 2:
        raise UsageError("features is 1", where=type(owner).__name__, todo="Give at least 2: one half tells the other.")
    return features
