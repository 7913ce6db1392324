"""The Transformer: encoder, decoder, and both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError, nearest
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._inputs import tokens
from deepscope.models._positions import (
    ContextualPositions,
    LearnedPositions,
    LinearBiases,
    RotaryPositions,
    ScoreBias,
    SinusoidalPositions,
)
from deepscope.models._sizes import check_sequence, check_tokens, divided, positive, probability
from deepscope.models._transformer_layer import FeedForward, TransformerLayer, TransformerStack

_POSITIONS = ("none", "sinusoidal", "learned", "rotary", "linear-biases", "contextual")


class TransformerEncoder(TransformerStack):
    """Encoder of a Transformer: positions, then layers of attention to all positions (or, causal, to the past).

    Maps [batch, time, d] to the same; each of L layers has 12d² + 9d parameters with 4d hidden units, and 4d more with
    biases in attention. Pre-norm has one more normalisation at the end. The causal one is the
    decoder of a language model (``radford2019language``): it has no cross-attention. Cost a layer: 24Td² + 4T²d
    operations. Source: ``vaswani2017attention``.

    Parameters
    ----------
    width, heads, hidden_size, num_layers
        d, the number of heads, the hidden units of the feed-forward networks, L.
    causal, attention_bias
        As ``MultiHeadAttention`` has them.
    positions
        ``"sinusoidal"`` or ``"learned"``, added to the input; ``"rotary"``, ``"linear-biases"`` (ALiBi) or
        ``"contextual"`` (CoPE), within attention; or ``"none"``.
    longest
        Greatest length for learned positions, and greatest distance that contextual positions count to.
    activation
        Makes the activation of the feed-forward networks.
    pre_norm, dropout
        As ``TransformerLayer`` has them; the paper trains with a dropout of 0.1, of the input's sum with the
        positions too.

    Raises
    ------
    UsageError
        A size below 1 or that does not divide, or unknown positions; when called: an input that is not [batch, time,
        d].

    Examples
    --------
    >>> import torch
    >>> model = TransformerEncoder()
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 18902016)
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        hidden_size: int = 2048,
        num_layers: int = 6,
        *,
        causal: bool = False,
        attention_bias: bool = False,
        positions: str = "sinusoidal",
        longest: int = 1024,
        activation: Callable[[], nn.Module] = nn.ReLU,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        head_size = divided(width, "width", heads, "heads", self)
        norm = partial(nn.LayerNorm, width)

        def layer() -> TransformerLayer:
            rotary, score_bias = _within_attention(positions, heads, head_size, longest)
            attention = MultiHeadAttention(
                width, heads, causal=causal, bias=attention_bias, rotary=rotary, score_bias=score_bias
            )
            feed_forward = FeedForward(width, hidden_size, activation=activation)
            return TransformerLayer(attention, feed_forward, norm, pre_norm=pre_norm, dropout=dropout)

        super().__init__(
            width,
            [layer() for _ in range(positive(num_layers, "num_layers", self))],
            positions=_added(positions, width, longest),
            norm=norm() if pre_norm else None,
            dropout=dropout,
        )


class TransformerDecoder(nn.Module):
    """Decoder of a Transformer: layers of causal attention to itself and of attention to what an encoder returns.

    Maps x, [batch, time, d], and a context, [batch, context time, d], to [batch, time, d]. Each of L layers has
    16d² + 11d parameters with 4d hidden units (attention without biases). Sinusoidal positions are added to x. Source:
    ``vaswani2017attention``.

    Parameters
    ----------
    width, heads, hidden_size, num_layers
        d, the number of heads, the hidden units of the feed-forward networks, L.
    attention_bias, activation, pre_norm, dropout
        As ``TransformerEncoder`` has them.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: inputs that are not [batch, time, d].

    Examples
    --------
    >>> import torch
    >>> model = TransformerDecoder()
    >>> x, context = torch.zeros(2, 5, 512), torch.zeros(2, 7, 512)
    >>> model(x, context).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 25199616)
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        hidden_size: int = 2048,
        num_layers: int = 6,
        *,
        attention_bias: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = width
        norm = partial(nn.LayerNorm, width)

        def layer() -> TransformerLayer:
            return TransformerLayer(
                MultiHeadAttention(width, heads, causal=True, bias=attention_bias),
                FeedForward(width, hidden_size, activation=activation),
                norm,
                cross_attention=MultiHeadAttention(width, heads, bias=attention_bias),
                pre_norm=pre_norm,
                dropout=dropout,
            )

        self.positions = SinusoidalPositions(width)
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.layers = nn.ModuleList(layer() for _ in range(positive(num_layers, "num_layers", self)))
        self.norm = norm() if pre_norm else None

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        *,
        padding: Tensor | None = None,
        context_padding: Tensor | None = None,
    ) -> Tensor:
        """Decode x; each ``padding``, [batch, time], is True where a position is not to be seen."""
        check_sequence(x, self.width, self)
        check_sequence(context, self.width, self)
        x = self.dropout(self.positions(x))
        for layer in self.layers:
            x = layer(x, context, padding=padding, context_padding=context_padding)
        return x if self.norm is None else self.norm(x)


class Transformer(nn.Module):
    """Transformer: an encoder of the source, and a decoder of the target that reads it; logits of the next token.

    Maps source tokens [batch, source time] and target tokens [batch, time] to logits [batch, time, vocabulary]. The
    logits at time t depend on the whole source and on the target up to t. Both embeddings and the output are one matrix
    E, V × d: x = √d E_token + position, logits = E y. Parameters: Vd + L(28d² + 20d); 63,045,632 in the base size with
    V = 37,000, which the paper's table gives as 65 · 10⁶. Its byte-pair vocabulary is "about 37,000". Cost for S source
    and T target tokens: 2TVd + L(24Sd² + 4S²d + 28Td² + 4Sd² + 4T²d + 4STd) operations. E begins as N(0, 1/d). Source:
    ``vaswani2017attention``.

    Parameters
    ----------
    vocabulary
        V, of both languages together.
    width, heads, hidden_size, num_layers
        d, the number of heads, the hidden units of the feed-forward networks, L in the encoder and in the decoder.
    attention_bias, pre_norm, dropout
        As ``TransformerEncoder`` has them.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: tokens that are not [batch, time] whole numbers below
        V with at least one step.

    Examples
    --------
    >>> import torch
    >>> model = Transformer(vocabulary=100, width=32, heads=4, hidden_size=128, num_layers=2)
    >>> source, target = torch.zeros(2, 7, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64)
    >>> model(source, target).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 100]), 61824)
    """

    def __init__(
        self,
        vocabulary: int = 37_000,
        width: int = 512,
        heads: int = 8,
        hidden_size: int = 2048,
        num_layers: int = 6,
        *,
        attention_bias: bool = False,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary, self.width = positive(vocabulary, "vocabulary", self), positive(width, "width", self)
        sizes = (width, heads, hidden_size, num_layers)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = TransformerEncoder(*sizes, attention_bias=attention_bias, pre_norm=pre_norm, dropout=dropout)
        self.decoder = TransformerDecoder(*sizes, attention_bias=attention_bias, pre_norm=pre_norm, dropout=dropout)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, source: Tensor, target: Tensor | None = None, *, source_padding: Tensor | None = None) -> Tensor:
        """Return the logits of the token after each of the target, [batch, time, vocabulary].

        Parameters
        ----------
        source
            [batch, source time].
        target
            [batch, time], what was said so far. The source itself unless given, as for the task of repeating it.
        source_padding
            [batch, source time], True where a token is not to be seen.
        """
        target = source if target is None else target
        check_tokens(source, self.vocabulary, self)
        check_tokens(target, self.vocabulary, self)
        scale = self.width**0.5
        context = self.encoder(scale * self.embedding(source), padding=source_padding)
        y = self.decoder(scale * self.embedding(target), context, context_padding=source_padding)
        logits: Tensor = self.head(y)
        return logits


def transformer_base() -> Transformer:
    """Return the Transformer of 6 + 6 layers, 512 wide, with 8 heads; 63,045,632 parameters.

    Source: ``vaswani2017attention``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in transformer_base().parameters())
    63045632
    """
    return Transformer()


def transformer_big() -> Transformer:
    """Return the Transformer of 6 + 6 layers, 1,024 wide, with 16 heads; 214,171,648 parameters.

    Source: ``vaswani2017attention``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in transformer_big().parameters())
    214171648
    """
    return Transformer(width=1024, heads=16, hidden_size=4096)


def _added(positions: str, width: int, longest: int) -> nn.Module | None:
    if positions not in _POSITIONS:
        raise UsageError("unknown positions", where=positions, todo=nearest(positions, _POSITIONS))
    if positions == "sinusoidal":
        return SinusoidalPositions(width)
    return LearnedPositions(longest, width) if positions == "learned" else None


def _within_attention(
    positions: str, heads: int, head_size: int, longest: int
) -> tuple[RotaryPositions | None, ScoreBias | None]:
    if positions == "rotary":
        return RotaryPositions(head_size), None
    if positions == "linear-biases":
        return None, LinearBiases(heads)
    return None, ContextualPositions(head_size, longest) if positions == "contextual" else None


SPECIMENS = (
    Specimen(
        name="transformer-base",
        title="Transformer for translation, encoder and decoder",
        build=transformer_base,
        inputs=tokens(37_000, 12),
        parameters=63_045_632,
        formula="A layer of the encoder is x ← N(x + attention(x)), x ← N(x + W₂ max(0, W₁ x + b₁) + b₂), with layer "
        "normalisation N; one of the decoder has attention to the past of the target, then attention to what the "
        "encoder returned, then the same network. Sines and cosines of the position are added to √d times the "
        "embedding, which is also the output's matrix. With V tokens, L layers and 4d hidden units it has Vd + L(28d² "
        "+ 20d) parameters.",
        source="vaswani2017attention",
        pinned_by=""
        "tests/models/test_transformer.py::test_logits_depend_on_the_past_of_the_target_and_on_all_of_the_source",
    ),
    Specimen(
        name="transformer-big",
        title="Transformer for translation, encoder and decoder, the large one",
        build=transformer_big,
        inputs=tokens(37_000, 12),
        parameters=214_171_648,
        formula="As the base Transformer: encoder and decoder, post-norm, sinusoidal positions, one matrix of "
        "embeddings; Vd + L(28d² + 20d) parameters with d = 1,024 and L = 6.",
        source="vaswani2017attention",
        pinned_by=""
        "tests/models/test_transformer.py::test_logits_depend_on_the_past_of_the_target_and_on_all_of_the_source",
    ),
)
