"""FNet: a Transformer that mixes positions by a Fourier transform."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import tokens as tokens_of
from deepscope.models._positions import LearnedPositions
from deepscope.models._sizes import check_tokens, positive
from deepscope.models._transformer_layer import FeedForward, TransformerLayer, TransformerStack


class FourierMixing(nn.Module):
    """Fourier mixing: y = Re(F_T x F_d), the real part of the discrete Fourier transform over time and features.

    Maps [batch, time, d] to the same, with nothing to learn, in O(T d log(T d)). As F = C − iS with cosines and sines,
    y = C_T x C_d − S_T x S_d. Source: ``leethorp2022fnet``.

    Raises
    ------
    UsageError
        When called: an input that is not [batch, time, features] of floating-point numbers with at least one step.

    Examples
    --------
    >>> import torch
    >>> FourierMixing()(torch.eye(2)[None])
    tensor([[[2., 0.],
             [0., 2.]]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture of all positions and features."""
        if x.ndim != 3 or 0 in x.shape[1:] or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="FourierMixing",
                todo="Give [batch, time, features] of floating-point numbers, with at least one step.",
            )
        if not len(x):
            # The libraries behind the transform refuse it.
            return torch.zeros_like(x)
        y: Tensor = torch.fft.fft2(x, dim=(1, 2)).real
        return y


class FNet(nn.Module):
    """FNet: an encoder like BERT's with Fourier mixing in place of attention; logits of the words that were masked.

    Maps tokens [batch, time], at most ``longest``, to logits [batch, time, vocabulary]: W N(E token + position) + b
    enters L post-norm layers of ``FourierMixing`` and a network of 4d hidden units; from the last, E N(φ(W' x + b')) +
    c. φ is gelu in its approximation by tanh, the ε of the normalisations 10⁻¹². Parameters: (V + longest) d + L(8d² +
    9d) + 2(d² + d) + 4d + V; 82,891,520 in the base size (83 million in the paper's table). Cost: 16Td² operations a
    layer and the transform's. All begins as N(0, 0.02²), biases at 0. Source: ``leethorp2022fnet``.

    It reads one segment, so that it has no embedding of segments, which is 4d parameters in the paper's.

    Parameters
    ----------
    vocabulary, longest
        V, and the greatest length of a sequence.
    width, hidden_size, num_layers
        d, the hidden units of the networks, L.
    dropout
        Rate at which numbers are set to 0 in training; the paper's is 0.1.

    Raises
    ------
    UsageError
        A size below 1; when called: tokens that are not [batch, time] whole numbers below V with at least one step,
        more than ``longest``.

    Examples
    --------
    >>> import torch
    >>> model = FNet(vocabulary=50, longest=16, width=8, hidden_size=32, num_layers=2)
    >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 50]), 1922)
    """

    def __init__(
        self,
        vocabulary: int = 32_000,
        longest: int = 512,
        width: int = 768,
        hidden_size: int = 3072,
        num_layers: int = 12,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = positive(vocabulary, "vocabulary", self)
        self.embedding = nn.Embedding(vocabulary, positive(width, "width", self))
        self.positions = LearnedPositions(longest, width)
        norm, activation = partial(nn.LayerNorm, width, eps=1e-12), partial(nn.GELU, approximate="tanh")
        self.embedding_norm = norm()
        self.projection = nn.Linear(width, width)
        self.encoder = TransformerStack(
            width,
            [
                TransformerLayer(
                    FourierMixing(), FeedForward(width, hidden_size, activation=activation), norm, dropout=dropout
                )
                for _ in range(positive(num_layers, "num_layers", self))
            ],
            dropout=dropout,
        )
        self.transform = nn.Linear(width, width)
        self.activation = activation()
        self.transform_norm = norm()
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.embedding.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the word at each position."""
        check_tokens(tokens, self.vocabulary, self)
        x = self.projection(self.embedding_norm(self.positions(self.embedding(tokens))))
        y = self.transform_norm(self.activation(self.transform(self.encoder(x))))
        logits: Tensor = self.head(y)
        return logits


def fnet_base() -> FNet:
    """Return the FNet of 12 layers, 768 wide; 82,891,520 parameters.

    Source: ``leethorp2022fnet``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in fnet_base().parameters())
    82891520
    """
    return FNet()


def fnet_large() -> FNet:
    """Return the FNet of 24 layers, 1,024 wide; 236,975,360 parameters.

    Source: ``leethorp2022fnet``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in fnet_large().parameters())
    236975360
    """
    return FNet(width=1024, hidden_size=4096, num_layers=24)


SPECIMENS = (
    Specimen(
        name="fnet-base",
        title="FNet, an encoder that mixes by Fourier transforms",
        build=fnet_base,
        inputs=tokens_of(32_000, 12),
        parameters=82_891_520,
        formula="x ← N(x + Re(F_T x F_d)), x ← N(x + W₂ gelu(W₁ x + b₁) + b₂): the layer of an encoder, where the real "
        "part of the discrete Fourier transform over time and features stands in the place of attention.",
        source="leethorp2022fnet",
        pinned_by="tests/models/test_fnet.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="fnet-large",
        title="FNet, an encoder that mixes by Fourier transforms, the large one",
        build=fnet_large,
        inputs=tokens_of(32_000, 12),
        parameters=236_975_360,
        formula="As FNet-Base, with 24 layers, 1,024 wide.",
        source="leethorp2022fnet",
        pinned_by="tests/models/test_fnet.py::test_it_is_the_network_that_transformers_builds",
    ),
)
