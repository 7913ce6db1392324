"""Multi-head attention."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._positions import ContextualPositions, LinearBiases, RotaryPositions, ScoreBias, distances
from deepscope.models._sizes import check_sequence, divided

#: Keys and values of all that was read, [batch, key-value heads, time, head width] each.
KeyValues: TypeAlias = tuple[Tensor, Tensor]


class MultiHeadAttention(nn.Module):
    """Multi-head attention: y = W_o [softmax(q_h k_hᵀ/√d_h) v_h]_h with q = W_q x, k = W_k c, v = W_v c.

    Maps x, [batch, queries, d], and a context c, [batch, keys, d] (x itself unless given), to [batch, queries, d]. Each
    of H heads has its own d_h = d/H columns of q, k and v. Each row of weights is the p that maximises Σ_j p_j q·k_j +
    √d_h H(p) with the entropy H (``litman2025scaled``). Without positions it is equivariant under permutations of its
    inputs; for q and k of independent components of variance 1 the scores have variance 1. With biases there are 4d² +
    4d parameters; with G < H heads for keys and values (``ainslie2023gqa``), each shared by H/G heads of queries, d²(2
    + 2G/H) + d(2 + 2G/H). Cost for T queries and keys: 8Td² + 4T²d operations; torch's fused kernel keeps O(Td)
    numbers, ``weights`` all HT². The weights begin uniform with variance 2/(width in + width out) as Glorot and Bengio
    propose (``glorot2010understanding``), the biases at 0. Source: ``vaswani2017attention``.

    Parameters
    ----------
    width
        d.
    heads
        H, by which d is divided.
    key_value_heads
        G, by which H is divided; H unless given.
    causal
        Whether a query sees the keys up to its own time only.
    bias
        Whether the four linear maps have a bias. The paper's have none.
    rotary
        Turns queries and keys by their times.
    score_bias
        Adds to the scores; contextual positions need ``causal``.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide, positions made for other heads, contextual positions without
        ``causal``; when called: inputs that are not [batch, time, d] with at least one step, batches that differ, or
        padding that leaves a query without any key.

    Examples
    --------
    >>> import torch
    >>> model = MultiHeadAttention()
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 1050624)
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        *,
        key_value_heads: int | None = None,
        causal: bool = False,
        bias: bool = True,
        rotary: RotaryPositions | None = None,
        score_bias: ScoreBias | None = None,
    ) -> None:
        super().__init__()
        self.width, self.causal = width, causal
        self.num_heads, self.head_dim = heads, divided(width, "width", heads, "heads", self)
        self.num_key_value_heads = heads if key_value_heads is None else key_value_heads
        divided(heads, "heads", self.num_key_value_heads, "key_value_heads", self)
        narrow = self.num_key_value_heads * self.head_dim
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, narrow, bias=bias)
        self.value = nn.Linear(width, narrow, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        if isinstance(score_bias, ContextualPositions) and not causal:
            raise UsageError(
                "contextual positions count from a query back", where="MultiHeadAttention", todo="Set causal."
            )
        for each in (rotary, score_bias):
            _check_positions(each, heads, self.head_dim)
        self.rotary, self.score_bias = rotary, score_bias
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            if bias:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, *, padding: Tensor | None = None) -> Tensor:
        """Return what each query reads, [batch, queries, d].

        Parameters
        ----------
        x
            Of the queries, [batch, queries, d].
        context
            Of the keys and values, [batch, keys, d]; x unless given.
        padding
            [batch, keys], True where a key is not to be seen. At least one key must be left to each query: with
            ``causal`` the first.
        """
        queries, keys, values = self._projected(x, context, padding)
        return self._read(queries, keys, values, padding)

    def scan(self, x: Tensor, state: KeyValues | None = None) -> tuple[Tensor, KeyValues]:
        """Read the next part of a sequence; return its outputs, and the keys and values of all that was read.

        Two calls on the parts of a sequence compute what one computes on the whole. A step costs O(d² + Td) at time T.
        """
        if not self.causal:
            raise UsageError(
                "attention to what comes later cannot go step by step", where="MultiHeadAttention", todo="Set causal."
            )
        queries, keys, values = self._projected(x, None, None, state)
        return self._read(queries, keys, values, None), (keys, values)

    def weights(self, x: Tensor, context: Tensor | None = None, *, padding: Tensor | None = None) -> Tensor:
        """Return the softmax, [batch, heads, queries, keys]: how much each query takes from each key."""
        queries, keys, _ = self._projected(x, context, padding)
        scores = queries @ keys.repeat_interleave(self.num_heads // self.num_key_value_heads, 1).mT
        scores = scores / self.head_dim**0.5
        mask = self._mask(queries, keys, padding)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights: Tensor = scores.softmax(-1)
        return weights

    def _projected(
        self, x: Tensor, context: Tensor | None, padding: Tensor | None, state: KeyValues | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        check_sequence(x, self.width, self)
        source = x if context is None else context
        check_sequence(source, self.width, self)
        if len(source) != len(x) or (self.causal and context is not None):
            raise UsageError(
                f"{len(x)} sequences of queries, {len(source)} of keys" + ", causal" * self.causal,
                where="MultiHeadAttention",
                todo="Give the context of as many sequences, and none where attention is causal.",
            )
        if padding is not None:
            _check_padding(padding, source, self.causal)
        queries, keys, values = (
            self._split(self.query(x)),
            self._split(self.key(source)),
            self._split(self.value(source)),
        )
        if state is not None:
            _check_key_values(state, keys)
        start = 0 if state is None else state[0].shape[-2]
        if self.rotary is not None:
            queries, keys = self.rotary(queries, start), self.rotary(keys, start)
        if state is None:
            return queries, keys, values
        return queries, torch.cat([state[0], keys], -2), torch.cat([state[1], values], -2)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], x.shape[2] // self.head_dim, self.head_dim).transpose(1, 2)

    def _read(self, queries: Tensor, keys: Tensor, values: Tensor, padding: Tensor | None) -> Tensor:
        whole = self.causal and queries.shape[-2] == keys.shape[-2] and padding is None and self.score_bias is None
        mask = None if whole else self._mask(queries, keys, padding)
        read = scaled_dot_product_attention(
            queries, keys, values, mask, is_causal=whole, enable_gqa=self.num_key_value_heads < self.num_heads
        )
        y: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return y

    def _mask(self, queries: Tensor, keys: Tensor, padding: Tensor | None) -> Tensor | None:
        """Return what may be seen (bool), or what is added to the scores, −∞ where nothing may be seen."""
        seen = None
        if self.causal and queries.shape[-2] > 1:
            seen = distances(queries.shape[-2], keys.shape[-2], queries.device) >= 0
        if padding is not None:
            unpadded = ~padding[:, None, None, :]
            seen = unpadded if seen is None else seen & unpadded
        if self.score_bias is None:
            return seen
        added: Tensor = self.score_bias(queries, keys)
        return added if seen is None else added.masked_fill(~seen, -torch.inf)


def _check_positions(positions: RotaryPositions | ScoreBias | None, heads: int, head_size: int) -> None:
    argument, given, wanted = "head_size", head_size, head_size
    if isinstance(positions, LinearBiases):
        argument, given, wanted = "heads", positions.heads, heads
    elif positions is not None:
        given = positions.head_size
    if given != wanted:
        raise UsageError(
            f"the {argument} of {type(positions).__name__} is {given}",
            where="MultiHeadAttention",
            todo=f"Give {wanted}, that of the attention.",
        )


def _check_padding(padding: Tensor, source: Tensor, causal: bool) -> None:
    if padding.dtype != torch.bool or padding.shape != source.shape[:2]:
        raise UsageError(
            f"the padding is {list(padding.shape)} of {str(padding.dtype).removeprefix('torch.')}",
            where="MultiHeadAttention",
            todo=f"Give {list(source.shape[:2])} of bool, True where a key is not to be seen.",
        )
    if (padding[:, 0] if causal else padding.all(1)).any():
        raise UsageError(
            "the padding hides all that some query could see",
            where="MultiHeadAttention",
            todo="Leave a key to each sequence" + (", and its first where attention is causal." if causal else "."),
        )


def _check_key_values(state: KeyValues, keys: Tensor) -> None:
    wanted = [keys.shape[0], keys.shape[1], -1, keys.shape[3]]
    whole = isinstance(state, tuple) and all(isinstance(each, Tensor) for each in state)
    given = [[*each.shape[:2], -1, *each.shape[3:]] for each in state] if whole else []
    if given != [wanted, wanted] or state[0].shape != state[1].shape or any(each.dtype != keys.dtype for each in state):
        shapes = (
            f"shapes are {[list(each.shape) for each in state]}, of {state[0].dtype}" if given else "parts are none"
        )
        raise UsageError(
            f"the state's {shapes}",
            where="MultiHeadAttention",
            todo=f"Give keys and values of this model and batch size: [{wanted[0]}, {wanted[1]}, time, {wanted[3]}].",
        )


SPECIMENS = (
    Specimen(
        name="multi-head-attention",
        title="multi-head attention, a layer of a Transformer",
        build=MultiHeadAttention,
        inputs=values(20, 512),
        parameters=1_050_624,
        formula="y = W_o [softmax(q_h k_hᵀ/√d_h) v_h]_h, where q = W_q x, k = W_k x and v = W_v x are split into H "
        "heads of d_h = d/H columns each: every position reads a mean of all positions' values, weighted by how well "
        "its query fits their keys.",
        source="vaswani2017attention",
        rows=("attention-ot",),
        pinned_by="tests/models/test_attention.py::test_its_weights_solve_one_sided_optimal_transport",
    ),
)
