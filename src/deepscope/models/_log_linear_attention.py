"""Log-linear attention: linear attention whose past is a logarithmic number of matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._linear_attention import CHUNK, in_chunks, split_heads
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import divided, positive


class LogLinearAttention(Recurrence):
    """Log-linear attention: y_t = W_o [Σ_ℓ λ_t^(ℓ) S_t^(ℓ)ᵀ q_t/√d_h]_h with S_t^(ℓ) = Σ_{s: ℓ(t,s)=ℓ} k_s v_sᵀ.

    The past is cut as a Fenwick tree cuts it: ℓ(t, s) is the number of binary digits of t xor s, so that level 0 is the
    token itself and level ℓ ≥ 1 holds 2^(ℓ−1) tokens, where t has its digit ℓ − 1 set, the nearer the finer. At most
    log₂ T + 1 states are alive. The gates λ_t = softplus(W_λ x_t + b_λ), one per level and head, tell how much each
    scale counts; where all are 1 it is linear attention without normalisation. Maps [batch, time, d] to the same,
    causally, for at most ``longest`` = 2^L steps. Parameters: 4d² + 4d + H(L + 1)(d + 1). A sequence costs
    O(T d d_h log T) operations; a step O(d² + d d_h log T), and a memory of L d d_h numbers. Source:
    ``guo2025log``.

    The paper lays this on the gated states of Mamba-2 and DeltaNet; here it lies on the plain sum of outer products.
    The gates begin near 1: W_λ as torch draws it, b_λ such that softplus(b_λ) = 1. The other weights begin as those of
    ``MultiHeadAttention``.

    Parameters
    ----------
    width
        d.
    heads
        H, by which d is divided.
    longest
        Greatest length of a sequence; the next power of 2 is what counts.

    Raises
    ------
    UsageError
        As ``Recurrence``; a width that does not divide; when called: a longer sequence.

    Examples
    --------
    >>> import torch
    >>> model = LogLinearAttention()
    >>> model(torch.zeros(2, 5, 512)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 512]), 1095768)
    """

    def __init__(self, width: int = 512, heads: int = 8, *, longest: int = 1024) -> None:
        super().__init__(width)
        self.num_heads, self.head_dim = heads, divided(width, "width", heads, "heads", self)
        self.levels = (positive(longest, "longest", self) - 1).bit_length()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, heads * (self.levels + 1))
        self.output = nn.Linear(width, width)
        for each in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(each.weight)
            nn.init.zeros_(each.bias)
        nn.init.constant_(self.gate.bias, math.log(math.e - 1))

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return S of levels 1 to L, zeros [L, batch, H, d_h, d_h], and the number of steps that were read, 0."""
        weight = self.query.weight
        states = weight.new_zeros(self.levels, batch, self.num_heads, self.head_dim, self.head_dim)
        return states, torch.zeros((), dtype=torch.int64, device=weight.device)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read the states and the token, [batch, d] to [batch, d]; then merge it with all the levels that are full."""
        states, time = state
        t = int(time)
        self._check_length(t + 1)
        queries, keys, values, gates = (each.squeeze(2) for each in self._projected(x.unsqueeze(1)))
        new = keys.unsqueeze(-1) * values.unsqueeze(-2)
        read = gates[..., :1] * _read(queries, new)
        for level in range(self.levels):
            if t >> level & 1:
                read = read + gates[..., level + 1 : level + 2] * _read(queries, states[level])
        # As a binary counter: t + 1 clears the lowest digits that are set in t, and sets the next.
        full = ((t + 1) & -(t + 1)).bit_length() - 1
        merged = (states[:full].sum(0) + new)[None]
        if full < self.levels:
            states = torch.cat([torch.zeros_like(states[:full]), merged, states[full + 1 :]])
        return self.output(read.flatten(1)), (states, time + 1)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        states, time = state
        if not x.is_meta and int(time):
            return super()._scan(x, state)
        length = x.shape[1]
        self._check_length(length)
        queries, keys, values, gates = self._projected(x)
        read = read_by_levels(queries, keys, values, gates)
        y: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return y, (torch.stack([*_states(keys, values, states)]) if self.levels else states, time + length)

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return queries, keys and values, [batch, H, time, d_h], and gates, [batch, H, time, L + 1]."""
        queries, keys, values, gates = (
            split_heads(each(x), self.num_heads) for each in (self.query, self.key, self.value, self.gate)
        )
        return queries / self.head_dim**0.5, keys, values, nn.functional.softplus(gates)

    def _check_length(self, length: int) -> None:
        if length > 2**self.levels:
            raise UsageError(
                f"the sequence has {length} steps",
                where="LogLinearAttention",
                todo=f"Give at most {2**self.levels}, or build the model with a greater ``longest``.",
            )


def levels_of(length: int, device: torch.device) -> Tensor:
    """Return ℓ(t, s), the number of binary digits of t xor s, [length, length].

    Examples
    --------
    >>> levels_of(4, torch.device("cpu"))
    tensor([[0, 1, 2, 2],
            [1, 0, 2, 2],
            [2, 2, 0, 1],
            [2, 2, 1, 0]])
    """
    times = torch.arange(length, device=device)
    return torch.frexp((times[:, None] ^ times).double()).exponent.long()


def read_by_levels(queries: Tensor, keys: Tensor, values: Tensor, gates: Tensor) -> Tensor:
    """Return Σ_{s≤t} λ_t^(ℓ(t,s)) (q_t·k_s) v_s for all t, in O(T log T).

    Within chunks the products are multiplied out. Between chunks, every second block of a level reads the sum over the
    block before it.

    Parameters
    ----------
    queries, keys, values
        [..., time, d].
    gates
        λ, [..., time, levels + 1].
    """
    length = queries.shape[-2]
    # A power of two, so that blocks of every level are whole chunks.
    size = min(CHUNK, 2 ** (length - 1).bit_length())
    q, k, v, g = (in_chunks(each, size) for each in (queries, keys, values, gates))
    weights = g.gather(-1, levels_of(size, q.device).clamp(max=g.shape[-1] - 1).expand(*g.shape[:-1], size))
    read = (q @ k.mT * weights).tril() @ v
    sums, level = k.mT @ v, (size - 1).bit_length() + 1
    while sums.shape[-3] > 1:
        if sums.shape[-3] % 2:
            sums = nn.functional.pad(sums, (0, 0, 0, 0, 0, 1))
        read = read + _of_odd_blocks(q, g[..., level], sums, chunks=2 ** (level - 1) // size)
        sums = sums[..., 0::2, :, :] + sums[..., 1::2, :, :]
        level += 1
    return read.flatten(-3, -2)[..., :length, :]


def _of_odd_blocks(queries: Tensor, gates: Tensor, sums: Tensor, *, chunks: int) -> Tensor:
    """Let the queries in every second block of so many chunks read the block before; [..., n, size, d] to the same."""
    n = queries.shape[-3]
    odd = torch.arange(n, device=queries.device) // chunks % 2 == 1
    places = torch.arange(n, device=queries.device)[odd]
    read = (queries[..., odd, :, :] * gates[..., odd, :, None]) @ sums[..., places // chunks - 1, :, :]
    return torch.zeros_like(queries).index_copy(-3, places, read)


def _states(keys: Tensor, values: Tensor, empty: Tensor) -> list[Tensor]:
    """Return S of every level after the last step: sums over the blocks that the digits of the length name."""
    length, end, states = keys.shape[-2], keys.shape[-2], []
    for level, nothing in enumerate(empty):
        begin = end - (1 << level) if length >> level & 1 else end
        part = slice(begin, end)
        states.append(keys[..., part, :].mT @ values[..., part, :] if begin < end else nothing)
        end = begin
    return states


def _read(queries: Tensor, state: Tensor) -> Tensor:
    return (queries.unsqueeze(-2) @ state).squeeze(-2)


SPECIMENS = (
    Specimen(
        name="log-linear-attention",
        title="log-linear attention, with a Fenwick tree of states",
        build=LogLinearAttention,
        inputs=values(20, 512),
        parameters=1_095_768,
        formula="y_t = W_o [Σ_ℓ λ_t^(ℓ) S_t^(ℓ)ᵀ q_t/√d_h]_h, where S_t^(ℓ) is the sum of k_s v_sᵀ over the past times "
        "s for which t xor s has ℓ binary digits, and λ_t = softplus(W_λ x_t + b_λ): one state for each of log₂ T + 1 "
        "time scales, near ones fine and far ones coarse.",
        source="guo2025log",
        pinned_by="tests/models/test_log_linear_attention.py::test_states_are_those_of_a_fenwick_tree_log_many",
    ),
)
