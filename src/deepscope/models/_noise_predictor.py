"""Times as vectors, and a perceptron that predicts noise from a noisy sample and its time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._mlp import MLP
from deepscope.models._noise_schedule import check_times
from deepscope.models._sizes import check_shape, even, positive


class TimeEmbedding(nn.Module):
    """Times as waves of geometrically spaced lengths: (sin t ωᵢ, cos t ωᵢ), ωᵢ = 10000^(−i/(w/2 − 1)).

    Maps whole numbers, [batch], to [batch, w]; it has no parameters. Source: ``ho2020denoising``.

    Parameters
    ----------
    width
        w, even, at least 4.

    Raises
    ------
    UsageError
        Another width.

    Examples
    --------
    >>> TimeEmbedding(4)(torch.tensor([0, 1]))[0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if even(width, "width", self) < 4:
            raise UsageError(f"width is {width}", where="TimeEmbedding", todo="Give an even number of at least 4.")
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float64) / (half - 1)
        frequencies = (-math.log(10_000) * exponents).exp()
        self.register_buffer("frequencies", frequencies.to(torch.get_default_dtype()), persistent=False)

    def forward(self, times: Tensor) -> Tensor:
        """Return the waves at these times."""
        angles = times[:, None].to(self.frequencies.dtype) * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], 1)


class NoiseMLP(nn.Module):
    """Perceptron that predicts the noise in x from x and its time t: ε̂ = f(x, embedding(t)).

    Maps [batch, features] and whole times, [batch], to [batch, features]. It has the parameters of
    ``MLP(features + embedding, hidden, features)``; its weights begin as torch's. For data of few features; images have
    ``UNet``.

    Parameters
    ----------
    features
        Number of values per sample.
    hidden
        Widths of the hidden layers.
    embedding
        Width of ``TimeEmbedding``.
    activation
        As ``MLP`` takes it.

    Raises
    ------
    UsageError
        A size below 1 or one that does not fit; when called: inputs of another size or precision, times that are not
        [batch] whole numbers.

    Examples
    --------
    >>> NoiseMLP(2)(torch.zeros(5, 2), torch.arange(1, 6)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (128, 128, 128),
        *,
        embedding: int = 32,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        self.features = positive(features, "features", self)
        for width in hidden:
            positive(width, "hidden", self)
        self.embedding = TimeEmbedding(embedding)
        self.network = MLP(features + embedding, hidden, features, activation=activation)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """Return the noise that it expects in x."""
        check_shape(x, [self.features], self)
        check_times(times, len(x), type(self).__name__)
        return cast(Tensor, self.network(torch.cat([x, self.embedding(times)], 1)))
