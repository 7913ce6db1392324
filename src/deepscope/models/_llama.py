"""Llama: a Transformer language model with rotary positions, gated networks and root mean square normalisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._inputs import tokens as tokens_of
from deepscope.models._language_model import LanguageModel
from deepscope.models._positions import RotaryPositions
from deepscope.models._sizes import check_tokens, divided, positive
from deepscope.models._transformer_layer import TransformerLayer, TransformerStack, TransformerState


class GatedFeedForward(nn.Module):
    """Gated feed-forward network (SwiGLU): y = W₃ (φ(W₁ x) ⊙ W₂ x) with φ(z) = z/(1 + e^−z), position by position.

    Maps [..., d] to the same by way of h hidden units; 3dh parameters, 6dh operations a position. Source:
    ``shazeer2020glu``.

    Parameters
    ----------
    width, hidden_size
        d and h.
    activation
        Makes φ.

    Raises
    ------
    UsageError
        A size below 1.

    Examples
    --------
    >>> import torch
    >>> model = GatedFeedForward(8, 12)
    >>> model(torch.zeros(2, 5, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 8]), 288)
    """

    def __init__(self, width: int, hidden_size: int, *, activation: Callable[[], nn.Module] = nn.SiLU) -> None:
        super().__init__()
        self.gate = nn.Linear(positive(width, "width", self), positive(hidden_size, "hidden_size", self), bias=False)
        self.activation = activation()
        self.hidden = nn.Linear(width, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, [..., d]."""
        y: Tensor = self.output(self.activation(self.gate(x)) * self.hidden(x))
        return y


class Llama(LanguageModel):
    """Llama: L pre-norm layers of causal attention with rotary positions and a gated network, and a head of its own.

    Maps tokens [batch, time] of any length to the logits of the next, [batch, time, vocabulary]. A layer is
    x ← x + attention(N(x)), x ← x + W₃ (silu(W₁ N(x)) ⊙ W₂ N(x)), with N(x) = g ⊙ x/√(mean x² + ε) (``zhang2019root``),
    which follows the last layer too; nothing has a bias. G heads for keys and values may serve H heads of queries.
    Parameters: 2Vd + L(2d²(1 + G/H) + 3dh + 2d) + d; 6,738,415,616 in the smallest size of the first generation. Cost:
    2TVd + L(4Td²(1 + G/H) + 6Tdh + 4T²d) operations. All weights begin as N(0, 0.02²). Source: ``touvron2023llama``.

    Planes that rotary positions turn are adjacent columns, as in the paper and its code; weights in the order of the
    library transformers have them half a head apart.

    Parameters
    ----------
    vocabulary, width, heads, num_layers
        V, d, H, L.
    hidden_size
        h.
    key_value_heads
        G; H unless given.
    base
        Of the rotary positions.
    epsilon
        ε.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: tokens that are not [batch, time] whole numbers below V
        with at least one step.

    Examples
    --------
    >>> import torch
    >>> model = Llama(vocabulary=65, width=32, heads=4, num_layers=2, hidden_size=88, key_value_heads=2)
    >>> model(torch.zeros(2, 7, dtype=torch.int64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 65]), 27360)
    """

    def __init__(
        self,
        vocabulary: int = 32_000,
        width: int = 4096,
        heads: int = 32,
        num_layers: int = 32,
        hidden_size: int = 11_008,
        *,
        key_value_heads: int | None = None,
        base: float = 10_000.0,
        epsilon: float = 1e-6,
    ) -> None:
        norm = partial(nn.RMSNorm, width, eps=epsilon)
        head_size = divided(width, "width", heads, "heads", self)

        def layer() -> TransformerLayer:
            attention = MultiHeadAttention(
                width,
                heads,
                key_value_heads=key_value_heads,
                causal=True,
                bias=False,
                rotary=RotaryPositions(head_size, base=base),
            )
            return TransformerLayer(attention, GatedFeedForward(width, hidden_size), norm, pre_norm=True)

        body = TransformerStack(width, [layer() for _ in range(positive(num_layers, "num_layers", self))], norm=norm())
        super().__init__(vocabulary, width, body)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def scan(self, tokens: Tensor, state: TransformerState | None = None) -> tuple[Tensor, TransformerState]:
        """Read the next part of a text; return the logits, and the keys and values that all layers have read.

        Two calls on the parts of a text compute what one computes on the whole.

        Parameters
        ----------
        tokens
            [batch, time].
        state
            What the call before returned.
        """
        check_tokens(tokens, self.vocabulary, self)
        y, state = cast(TransformerStack, self.body).scan(self.embedding(tokens), state)
        return self.head(y), state


def llama_7b() -> Llama:
    """Return the smallest Llama of the first generation: 32 layers, 4,096 wide; 6,738,415,616 parameters.

    Source: ``touvron2023llama``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in llama_7b().parameters())
    6738415616
    """
    return Llama()


def llama3_8b() -> Llama:
    """Return the Llama 3 of 32 layers, 4,096 wide, with 8 heads for keys and values; 8,030,261,248 parameters.

    Source: ``grattafiori2024llama``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in llama3_8b().parameters())
    8030261248
    """
    return Llama(128_256, hidden_size=14_336, key_value_heads=8, base=500_000.0, epsilon=1e-5)


SPECIMENS = (
    Specimen(
        name="llama-7b",
        title="Llama, language model of the first generation, the smallest",
        build=llama_7b,
        inputs=tokens_of(32_000, 12),
        parameters=6_738_415_616,
        formula="x = E token; L layers x ← x + attention(N(x)), x ← x + W₃ (silu(W₁ N(x)) ⊙ W₂ N(x)) with causal "
        "attention, rotary positions and N(x) = g ⊙ x/√(mean x² + ε); logits = W N(x). 2Vd + L(2d²(1 + G/H) + 3dh + "
        "2d) + d parameters.",
        source="touvron2023llama",
        pinned_by="tests/models/test_llama.py::test_it_is_the_network_that_transformers_builds",
    ),
    Specimen(
        name="llama-3-8b",
        title="Llama 3, language model, the smallest",
        build=llama3_8b,
        inputs=tokens_of(128_256, 12),
        parameters=8_030_261_248,
        formula="As the first Llama, with 128,256 tokens, h = 14,336, G = 8, and rotary base 500,000.",
        source="grattafiori2024llama",
        pinned_by="tests/models/test_llama.py::test_it_is_the_network_that_transformers_builds",
    ),
)
