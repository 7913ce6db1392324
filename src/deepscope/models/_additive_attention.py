"""Additive attention."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._sizes import positive


class AdditiveAttention(nn.Module):
    """Additive attention: c = Σⱼ αⱼ kⱼ, α = softmax over j of v · tanh(W q + U kⱼ + b).

    Maps a query [batch, query_size] and keys [batch, length, key_size], which are the values as well, to the context
    c, [batch, key_size], a mean of the keys. With a hidden layer of n it has n(query_size + key_size + 2) parameters,
    in ``query`` (W), ``key`` (U and b) and ``score`` (v), and costs 2n(query_size + length (key_size + 1)) operations;
    of these, what ``project`` does can be done once for many queries. Source: ``bahdanau2015neural``.

    Parameters
    ----------
    query_size, key_size, hidden_size
        Sizes of q, of k, and n.

    Raises
    ------
    UsageError
        A size below 1; when called: inputs of other shapes, or a mask that hides all keys of a sample.

    Examples
    --------
    >>> attention = AdditiveAttention(3, 4, 8)
    >>> attention(torch.zeros(2, 3), torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in attention.parameters())
    (torch.Size([2, 4]), 72)
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__()
        self.query_size = positive(query_size, "query_size", self)
        self.key_size = positive(key_size, "key_size", self)
        self.query = nn.Linear(query_size, positive(hidden_size, "hidden_size", self), bias=False)
        self.key = nn.Linear(key_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the context, [batch, key_size]; keys whose ``mask``, [batch, length], is False are not seen."""
        return (self.weights(query, keys, mask)[:, None] @ keys)[:, 0]

    def weights(self, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return α, [batch, length]."""
        _check(query, keys, mask, self)
        return self.align(query, self.project(keys), mask)

    def project(self, keys: Tensor) -> Tensor:
        """Return U k + b, [batch, length, hidden_size], which does not depend on the query."""
        return cast(Tensor, self.key(keys))

    def align(self, query: Tensor, projected: Tensor, mask: Tensor | None) -> Tensor:
        """Return α, [batch, length], from keys that are already projected."""
        scores = self.score(torch.tanh(self.query(query)[:, None] + projected))[..., 0]
        return torch.softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -1)


def _check(query: Tensor, keys: Tensor, mask: Tensor | None, owner: AdditiveAttention) -> None:
    fits = keys.ndim == 3 and keys.shape[1] and keys.shape[2] == owner.key_size
    if not fits or query.shape != (len(keys), owner.query_size):
        raise UsageError(
            f"the query is {list(query.shape)}, the keys are {list(keys.shape)}",
            where="AdditiveAttention",
            todo=f"Give [batch, {owner.query_size}] and [batch, length, {owner.key_size}] with at least one key.",
        )
    if mask is None:
        return
    if mask.shape != keys.shape[:2] or mask.dtype != torch.bool or not bool(mask.any(1).all()):
        raise UsageError(
            f"the mask is {list(mask.shape)} of {str(mask.dtype).removeprefix('torch.')}"
            + ", and hides all keys of a sample" * (mask.dtype == torch.bool and mask.shape == keys.shape[:2]),
            where="AdditiveAttention",
            todo=f"Give {list(keys.shape[:2])} booleans, with a True for each sample.",
        )
