"""What Transformers are made of: the feed-forward network, the layer, and layers one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._sizes import check_sequence, positive, probability

#: What the attention of each layer remembers, such as its keys and values, and the number of steps that were read.
TransformerState: TypeAlias = tuple[tuple[Any, ...], int]


class FeedForward(nn.Sequential):
    """Position-wise feed-forward network: y = W₂ φ(W₁ x + b₁) + b₂, at each position by itself.

    Maps [..., d] to the same by way of h hidden units; 2dh + d + h parameters, 4dh operations a position. The weights
    begin as those of ``MultiHeadAttention``. Source: ``vaswani2017attention``.

    Parameters
    ----------
    width
        d.
    hidden_size
        h; 4d unless given.
    activation
        Makes φ.

    Raises
    ------
    UsageError
        A size below 1.

    Examples
    --------
    >>> import torch
    >>> model = FeedForward(512)
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 2099712)
    """

    def __init__(
        self, width: int, hidden_size: int | None = None, *, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        size = 4 * positive(width, "width", self) if hidden_size is None else hidden_size
        super().__init__()
        self.hidden = nn.Linear(width, positive(size, "hidden_size", self))
        self.activation = activation()
        self.output = nn.Linear(size, width)
        for each in (self.hidden, self.output):
            nn.init.xavier_uniform_(each.weight)
            nn.init.zeros_(each.bias)


class TransformerLayer(nn.Module):
    """Layer of a Transformer: mixing of positions and a feed-forward network, each beside a residual connection.

    With the normalisation N after the sum (post-norm, as published) x ← N(x + f(x)) for f = attention, then the feed-
    forward network; with it inside the branch (pre-norm, ``xiong2020layer``) x ← x + f(N(x)). A layer with cross-
    attention, f(x) = attention(x, context), has it between the two. Maps [batch, time, d] to the same. Parameters:
    those of its parts, and 2d for each layer normalisation. Source: ``vaswani2017attention``.

    Parameters
    ----------
    attention
        Any module that maps [batch, time, d] to the same: attention, or what takes its place.
    feed_forward
        Maps [..., d] to the same.
    norm
        Makes a normalisation of the last dimension.
    cross_attention
        Reads a context.
    pre_norm
        Whether the normalisation comes first.
    dropout
        Rate at which numbers of each branch are set to 0 in training.

    Raises
    ------
    UsageError
        A dropout outside of [0, 1); when called: a context without cross-attention, or none with it.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from deepscope.models import MultiHeadAttention
    >>> layer = TransformerLayer(MultiHeadAttention(8, 2), FeedForward(8), partial(nn.LayerNorm, 8))
    >>> layer(torch.zeros(2, 5, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 5, 8]), 872)
    """

    def __init__(
        self,
        attention: nn.Module,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        cross_attention: nn.Module | None = None,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention, self.attention_norm = attention, norm()
        self.cross_attention = cross_attention
        self.cross_attention_norm = None if cross_attention is None else norm()
        self.feed_forward, self.feed_forward_norm = feed_forward, norm()
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        padding: Tensor | None = None,
        context_padding: Tensor | None = None,
    ) -> Tensor:
        """Return the next representation of all positions.

        Parameters
        ----------
        x
            [batch, time, d].
        context
            What cross-attention reads, [batch, context time, d].
        padding, context_padding
            True where a position of x or of the context is not to be seen, [batch, time].
        """
        if (context is None) is not (self.cross_attention is None):
            raise UsageError(
                "a context without cross-attention" if context is not None else "cross-attention without a context",
                where="TransformerLayer",
                todo="Give a context to layers with cross-attention, and to no others.",
            )
        x = self._branch(x, self.attention, self.attention_norm, **_given(padding=padding))
        if context is not None:
            given = _given(context=context, padding=context_padding)
            x = self._branch(x, self.cross_attention, self.cross_attention_norm, **given)
        return self._branch(x, self.feed_forward, self.feed_forward_norm)

    def scan(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read the next part of a sequence; return its outputs, and what the attention's own ``scan`` remembers."""
        if self.cross_attention is not None:
            raise UsageError(
                "a layer with cross-attention is not read in parts",
                where="TransformerLayer",
                todo="Call it on the whole of the sequence.",
            )
        read, state = _scan_of(self.attention)(self.attention_norm(x) if self.pre_norm else x, state)
        x = x + self.dropout(read)
        x = x if self.pre_norm else self.attention_norm(x)
        return self._branch(x, self.feed_forward, self.feed_forward_norm), state

    def _branch(self, x: Tensor, branch: Any, norm: Any, **given: Any) -> Tensor:
        if self.pre_norm:
            y: Tensor = x + self.dropout(branch(norm(x), **given))
        else:
            y = norm(x + self.dropout(branch(x, **given)))
        return y


class TransformerStack(nn.Module):
    """Layers of a Transformer one after another: x + positions, then each layer, then a normalisation if there is one.

    Maps [batch, time, d] to the same. It has the parameters and the cost of its parts. Source:
    ``vaswani2017attention``.

    Parameters
    ----------
    width
        d.
    layers
        At least one, such as ``TransformerLayer``.
    positions
        Added to the input.
    norm
        After the last layer, as pre-norm needs it.
    dropout
        Rate at which numbers of the input's sum with the positions are set to 0 in training.

    Raises
    ------
    UsageError
        No layer, a width below 1, or a dropout outside of [0, 1); when called: an input that is not [batch, time, d],
        or a state of another model.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from deepscope.models import MultiHeadAttention
    >>> layer = TransformerLayer(MultiHeadAttention(8, 2, causal=True), FeedForward(8), partial(nn.LayerNorm, 8))
    >>> model = TransformerStack(8, [layer])
    >>> x = torch.randn(2, 5, 8)
    >>> first, state = model.scan(x[:, :3])
    >>> torch.allclose(model.scan(x[:, 3:], state)[0], model(x)[:, 3:], atol=1e-5)
    True
    """

    def __init__(
        self,
        width: int,
        layers: Iterable[nn.Module],
        *,
        positions: nn.Module | None = None,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = positive(width, "width", self)
        self.positions = positions
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.layers = nn.ModuleList(layers)
        positive(len(self.layers), "layers", self)
        self.norm = norm

    def forward(self, x: Tensor, *, padding: Tensor | None = None) -> Tensor:
        """Read [batch, time, d]; ``padding``, [batch, time], is True where a position is not to be seen."""
        check_sequence(x, self.width, self)
        x = self._placed(x, 0)
        for layer in self.layers:
            x = layer(x, **_given(padding=padding))
        return x if self.norm is None else self.norm(x)

    def scan(self, x: Tensor, state: TransformerState | None = None) -> tuple[Tensor, TransformerState]:
        """Read the next part of a sequence; return its outputs, and what all layers remember.

        Two calls on the parts of a sequence compute what one computes on the whole, if attention is causal. With L
        layers of softmax attention a step costs O(L(d² + Td)) at time T, where the whole anew would cost T times as
        much.
        """
        check_sequence(x, self.width, self)
        remembered, start = ((None,) * len(self.layers), 0) if state is None else _checked(state, self)
        if len(remembered) != len(self.layers):
            raise UsageError(
                f"the state is of {len(remembered)} layers",
                where=type(self).__name__,
                todo=f"Give a state of this model, of {len(self.layers)} layers.",
            )
        length, states = x.shape[1], []
        x = self._placed(x, start)
        for layer, each in zip(self.layers, remembered, strict=True):
            x, read = _scan_of(layer)(x, each)
            states.append(read)
        return x if self.norm is None else self.norm(x), (tuple(states), start + length)

    def _placed(self, x: Tensor, start: int) -> Tensor:
        placed: Tensor = self.dropout(x if self.positions is None else self.positions(x, start))
        return placed


def _checked(state: TransformerState, owner: object) -> TransformerState:
    """Refuse what is no state of a Transformer, such as that of a recurrent network."""
    pair = isinstance(state, tuple) and len(state) == 2
    if not pair or not isinstance(state[0], tuple) or not isinstance(state[1], int):
        raise UsageError(
            "the state is none of a Transformer",
            where=type(owner).__name__,
            todo="Give what scan returned: what each layer remembers, and the number of steps that were read.",
        )
    return state


def _scan_of(module: nn.Module) -> Any:
    if not hasattr(module, "scan"):
        name = type(module).__name__
        raise UsageError(f"a {name} is not read in parts", where=name, todo="Call the model on the whole sequence.")
    return module.scan


def _given(**options: Tensor | None) -> dict[str, Tensor]:
    """Leave out what is None, so that a module in the place of attention need not know of it."""
    return {name: each for name, each in options.items() if each is not None}
