"""Macaron network: a Transformer whose layers have half a feed-forward network on either side of attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._attention import MultiHeadAttention
from deepscope.models._inputs import values
from deepscope.models._positions import SinusoidalPositions
from deepscope.models._sizes import probability
from deepscope.models._transformer_layer import FeedForward, TransformerStack


class MacaronLayer(nn.Module):
    """Layer of a Macaron network: x ← x + f₁(x)/2, x ← x + attention(x), x ← x + f₂(x)/2, with normalisations.

    If a layer of a Transformer is a step of x' = attention(x) + f(x), first along the one and then along the other (Lie
    and Trotter's splitting, of order 1 in the step), then this is half a step along f, one along attention, half a step
    along f: Strang's splitting (``strang1968construction``), of order 2. That is so of the splitting; the steps of the
    parts are Euler's here as there. Maps [batch, time, d] to the same; a normalisation N stands as in
    ``TransformerLayer``, after each sum or (pre-norm) in each branch. Source: ``lu2019understanding``.

    Parameters
    ----------
    attention
        Any module that maps [batch, time, d] to the same.
    feed_forward1, feed_forward2
        f₁ and f₂, each [..., d] to the same.
    norm
        Makes a normalisation of the last dimension.
    pre_norm, dropout
        As ``TransformerLayer`` has them.

    Raises
    ------
    UsageError
        A dropout outside of [0, 1).

    Examples
    --------
    >>> import torch
    >>> layer = MacaronLayer(MultiHeadAttention(8, 2), FeedForward(8, 16), FeedForward(8, 16), partial(nn.LayerNorm, 8))
    >>> layer(torch.zeros(2, 5, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 5, 8]), 896)
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward1: nn.Module,
        feed_forward2: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.feed_forward1, self.feed_forward1_norm = feed_forward1, norm()
        self.attention, self.attention_norm = attention, norm()
        self.feed_forward2, self.feed_forward2_norm = feed_forward2, norm()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(self, x: Tensor, *, padding: Tensor | None = None) -> Tensor:
        """Return the next representation; ``padding``, [batch, time], is True where a position is not to be seen."""
        attention = self.attention if padding is None else partial(self.attention, padding=padding)
        x = self._branch(x, self.feed_forward1, self.feed_forward1_norm, 0.5)
        x = self._branch(x, attention, self.attention_norm, 1.0)
        return self._branch(x, self.feed_forward2, self.feed_forward2_norm, 0.5)

    def _branch(self, x: Tensor, branch: Callable[[Tensor], Tensor], norm: nn.Module, share: float) -> Tensor:
        if self.pre_norm:
            y: Tensor = x + share * self.dropout(branch(norm(x)))
        else:
            y = norm(x + share * self.dropout(branch(x)))
        return y


def macaron_base() -> TransformerStack:
    """Return an encoder of 6 Macaron layers, 512 wide, of 8 heads, with 2 × 1,024 hidden units; 18,911,232 parameters.

    As many hidden units as the Transformer's base encoder has in one network. Source: ``lu2019understanding``.

    Examples
    --------
    >>> import torch
    >>> model = macaron_base()
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 18911232)
    """
    return macaron_encoder(512, 8, 1024, 6)


def macaron_encoder(
    width: int, heads: int, hidden_size: int, num_layers: int, *, causal: bool = False, pre_norm: bool = False
) -> TransformerStack:
    """Return Macaron layers one after another, after sinusoidal positions; L(4d² + 4dh + 2h + 8d) parameters.

    Source: ``lu2019understanding``.

    Parameters
    ----------
    width, heads, hidden_size, num_layers
        d, the number of heads, the hidden units h of each of the two networks of a layer, L.
    causal, pre_norm
        As ``TransformerEncoder`` has them.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide.

    Examples
    --------
    >>> import torch
    >>> macaron_encoder(8, 2, 16, 1)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    norm = partial(nn.LayerNorm, width)

    def layer() -> MacaronLayer:
        attention = MultiHeadAttention(width, heads, causal=causal, bias=False)
        first, second = (FeedForward(width, hidden_size) for _ in range(2))
        return MacaronLayer(attention, first, second, norm, pre_norm=pre_norm)

    return TransformerStack(
        width,
        [layer() for _ in range(num_layers)],
        positions=SinusoidalPositions(width),
        norm=norm() if pre_norm else None,
    )


SPECIMENS = (
    Specimen(
        name="macaron-base",
        title="Macaron network, an encoder with split feed-forward networks",
        build=macaron_base,
        inputs=values(20, 512),
        parameters=18_911_232,
        formula="x ← N(x + f₁(x)/2), x ← N(x + attention(x)), x ← N(x + f₂(x)/2): half a feed-forward network on "
        "either side of attention, as in Strang's splitting of x' = attention(x) + f(x), which is of order 2.",
        source="lu2019understanding",
        pinned_by="tests/models/test_macaron.py::test_its_splitting_is_of_order_two_and_the_transformers_of_order_one",
    ),
)
