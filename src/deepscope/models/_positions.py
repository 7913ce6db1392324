"""Positions for attention, which sees a set without them: added to inputs, turned into queries, or in the scores."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._sizes import check_sequence, even, positive


class SinusoidalPositions(nn.Module):
    """Sinusoidal positions: x_t + p_t with p_{t,2i} = sin(t ω_i), p_{t,2i+1} = cos(t ω_i), ω_i = 10000^(−2i/d).

    Maps [batch, time, d] to the same, of any length. It has no parameters. p_{t+s} is p_t turned by an angle s ω_i in
    each plane (2i, 2i + 1): a shift is a linear map, and p_t · p_{t+s} depends on s alone. Source:
    ``vaswani2017attention``.

    Parameters
    ----------
    width
        d, even.
    base
        In place of 10,000.

    Raises
    ------
    UsageError
        A width that is odd or below 1; when called: an input of another width.

    Examples
    --------
    >>> import torch
    >>> SinusoidalPositions(4)(torch.zeros(1, 2, 4)).round(decimals=2)
    tensor([[[0.0000, 1.0000, 0.0000, 1.0000],
             [0.8400, 0.5400, 0.0100, 1.0000]]])
    """

    def __init__(self, width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        self.width, self.base = even(width, "width", self), base

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add the positions from ``start`` on."""
        check_sequence(x, self.width, self)
        angles = _angles(start, x.shape[1], self.width, self.base, x.device)
        return x + torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(x.dtype)


class LearnedPositions(nn.Module):
    """Learned positions: x_t + P_t with a table P, up to a greatest length.

    Maps [batch, time, d] to the same; longest · d parameters, which begin as N(0, 0.01²) as in the authors' code.
    Source: ``radford2019language``.

    Parameters
    ----------
    longest
        Greatest length of a sequence.
    width
        d.

    Raises
    ------
    UsageError
        A size below 1; when called: an input of another width, or a longer sequence.

    Examples
    --------
    >>> import torch
    >>> LearnedPositions(10, 4)(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.longest = positive(longest, "longest", self)
        self.embedding = nn.Embedding(longest, positive(width, "width", self))
        nn.init.normal_(self.embedding.weight, std=0.01)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add the positions from ``start`` on."""
        check_sequence(x, self.embedding.embedding_dim, self)
        end = start + x.shape[1]
        if end > self.longest:
            raise UsageError(
                f"the sequence has {end} steps",
                where="LearnedPositions",
                todo=f"Give at most {self.longest}, or build the model with a greater ``longest``.",
            )
        embedded: Tensor = self.embedding(torch.arange(start, end, device=x.device))
        return x + embedded


class RotaryPositions(nn.Module):
    """Rotary positions: queries and keys at time t are turned by the angle t ω_i in each plane (2i, 2i + 1).

    With ω_i = base^(−2i/d). Maps [..., time, d] to the same, of any length, and has no parameters. The score of a query
    at time t and a key at time s is that of the unturned ones but for a turn by t − s: it depends on the distance
    alone. Source: ``su2024roformer``.

    Parameters
    ----------
    head_size
        d, even.
    base
        10,000 in the paper.

    Raises
    ------
    UsageError
        A width that is odd or below 1; when called: an input of another width.

    Examples
    --------
    >>> import torch
    >>> RotaryPositions(2)(torch.tensor([[1.0, 0.0], [1.0, 0.0]])).round(decimals=2)
    tensor([[1.0000, 0.0000],
            [0.5400, 0.8400]])
    """

    def __init__(self, head_size: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        self.head_size, self.base = even(head_size, "head_size", self), base

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Turn queries or keys, the first of which stands at ``start``."""
        _check_width(x, self.head_size, self)
        angles = _angles(start, x.shape[-2], self.head_size, self.base, x.device)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x[..., 0::2], x[..., 1::2]
        return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)


class LinearBiases(nn.Module):
    """Attention with linear biases (ALiBi): −m_h |t − s| is added to the scores of head h.

    The slopes m_h are 2^(−8h/H) for h = 1, …, H; where H is no power of two, those of the next smaller power and every
    other one of the next greater, as in the authors' code. It has no parameters. Called with queries and keys,
    [batch, H, …, d], the last of which stand at the same time, it returns [1, H, queries, keys]. The paper's model is
    causal, with t ≥ s; the absolute value extends it to attention in both directions. Source: ``press2022train``.

    Parameters
    ----------
    heads
        H.

    Raises
    ------
    UsageError
        A number below 1; when called: queries of another number of heads.

    Examples
    --------
    >>> import torch
    >>> q = k = torch.zeros(1, 2, 3, 4)
    >>> LinearBiases(2)(q, k)[0, 0, -1]
    tensor([-0.1250, -0.0625, -0.0000])
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = positive(heads, "heads", self)
        self.slopes = _slopes(heads)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the biases of these queries' scores with these keys."""
        if queries.ndim < 3 or queries.shape[1] != self.heads:
            raise UsageError(
                f"the queries are {list(queries.shape)}",
                where="LinearBiases",
                todo=f"Give [batch, {self.heads}, …, d], one slope for each head.",
            )
        slopes = torch.tensor(self.slopes, dtype=queries.dtype, device=queries.device)
        biases = -slopes[:, None, None] * distances(queries.shape[-2], keys.shape[-2], queries.device).abs()
        # Torch's fused attention takes a bias that has an axis for the batch, and forms all weights for one without.
        return biases[None]


class ContextualPositions(nn.Module):
    """Contextual position encoding (CoPE): positions count what the query finds worth counting, not tokens.

    Key s stands from query t at p_ts = Σ_{s≤r≤t} σ(q_t·k_r/√d), at most n − 1, and q_t·e(p_ts) is added to its score,
    where e is a learned table of n rows, interpolated linearly. With gates σ = 1 it is the distance t − s + 1: an
    ordinary relative position. n d parameters, 0 at first, for all heads. Called with queries and keys,
    [batch, heads, …, d], the last of which stand at the same time, it returns [batch, heads, queries, keys]. It needs
    causal attention. Cost: as many operations as the scores themselves, once for the gates and n instead of d wide
    for the table. Source: ``golovneva2024contextual``.

    Parameters
    ----------
    head_size
        d.
    count
        n.

    Raises
    ------
    UsageError
        A size below 1; when called: queries of another width.

    Examples
    --------
    >>> import torch
    >>> q = k = torch.ones(1, 2, 3, 4)
    >>> ContextualPositions(4, 8)(q, k).shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(self, head_size: int, count: int) -> None:
        super().__init__()
        self.head_size = positive(head_size, "head_size", self)
        self.embedding = nn.Parameter(torch.zeros(positive(count, "count", self), head_size))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return what is added to these queries' scores with these keys."""
        _check_width(queries, self.head_size, self)
        future = distances(queries.shape[-2], keys.shape[-2], queries.device) < 0
        gates = torch.sigmoid(queries @ keys.mT / math.sqrt(queries.shape[-1])).masked_fill(future, 0.0)
        places = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=len(self.embedding) - 1)
        at = queries @ self.embedding.mT
        below = places.detach().floor()
        # Where a place is not a number, neither is the result; which row it reads does not matter.
        index = below.nan_to_num().long()
        next_index = (index + 1).clamp(max=len(self.embedding) - 1)
        return torch.lerp(at.gather(-1, index), at.gather(-1, next_index), places - below)


ScoreBias: TypeAlias = LinearBiases | ContextualPositions


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return t − s, [queries, keys], where the last query stands at the time of the last key.

    Examples
    --------
    >>> import torch
    >>> distances(2, 3, torch.device("cpu"))
    tensor([[ 1,  0, -1],
            [ 2,  1,  0]])
    """
    return torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)


def _angles(start: int, length: int, width: int, base: float, device: torch.device) -> Tensor:
    """Return t ω_i, [length, width / 2]; in float64, because float32 is off by 1e-3 after ten thousand steps."""
    frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
    return torch.arange(start, start + length, dtype=torch.float64, device=device)[:, None] * frequencies


def _check_width(x: Tensor, width: int, owner: object) -> None:
    """Refuse another width: one of 2 would be turned, or weighed, as if all columns were the same two."""
    if x.shape[-1:] != (width,):
        raise UsageError(
            f"the input is {list(x.shape)}", where=type(owner).__name__, todo=f"Give [..., time, {width}]."
        )


def _slopes(heads: int) -> list[float]:
    below: int = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8 * (h + 1) / below) for h in range(below)]
    between = [2.0 ** (-8 * (h + 1) / (2 * below)) for h in range(0, 2 * below, 2)]
    return slopes + between[: heads - below]
