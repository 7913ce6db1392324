"""mLSTM: long short-term memory whose memory is a matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.models._matrix_memory import empty_memory, scan_memory, step_memory
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import divided


class MLSTM(Recurrence):
    """mLSTM layer: a matrix memory with exponential gates that is written at keys and read at queries.

    ::

        C' = σ(f) C + exp(i) k vᵀ,   n' = σ(f) n + exp(i) k,   h = σ(o) ⊙ C'ᵀ q̂ / max(|n'·q̂|, 1),   q̂ = q / √d

    with q, k, v, o linear in x, and one number i and f a head. Nothing depends on h, so that a scan takes 64 steps at
    once. Maps [batch, time, input_size] to [batch, time, hidden_size]; the state is (C, n, m) of shapes
    [batch, heads, d, d], [batch, heads, d] and [batch, heads] with d = hidden_size / heads, zero at first, where C and
    n are held divided by exp(m). With m inputs and n units it has (m + 1)(4n + 2 heads) parameters and costs
    8mn + 6nd operations a step. The layers are ``query``, ``key``, ``value``, ``output_gate``, and ``gates`` for i and
    f of all heads, whose weights begin at 0 with biases −10 for i and 3 to 6 for f. Source: ``beck2024xlstm``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n, a multiple of ``heads``.
    heads
        Number of memories.

    Raises
    ------
    UsageError
        A size below 1, or units that do not divide among heads; when called: an input or a state that does not fit.

    Examples
    --------
    >>> layer = MLSTM(3, 8, heads=2)
    >>> layer(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 7, 8]), 144)
    """

    def __init__(self, input_size: int, hidden_size: int, *, heads: int = 1) -> None:
        super().__init__(input_size)
        self.head_size = divided(hidden_size, "hidden_size", heads, "heads", self)
        self.heads, self.hidden_size = heads, hidden_size
        self.query, self.key, self.value, self.output_gate = (nn.Linear(input_size, hidden_size) for _ in range(4))
        self.gates = nn.Linear(input_size, 2 * heads)
        start_gates(self.gates, heads)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return C = 0, n = 0 and m = 0."""
        return empty_memory(batch, self.heads, self.head_size, self.head_size, self.query.weight)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to [batch, hidden_size] and the next state."""
        matrix, normaliser, exponent = state
        q, k, v = (by_head(each(x)[:, None], self.heads)[:, :, 0] for each in (self.query, self.key, self.value))
        found, memory = step_memory(q, k, v, self.gates(x), (matrix, normaliser, exponent))
        return torch.sigmoid(self.output_gate(x)) * found.flatten(1), memory

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        matrix, normaliser, exponent = state
        q, k, v = (by_head(each(x), self.heads) for each in (self.query, self.key, self.value))
        found, memory = scan_memory(q, k, v, self.gates(x), (matrix, normaliser, exponent))
        return torch.sigmoid(self.output_gate(x)) * found.transpose(1, 2).flatten(2), memory


def by_head(x: Tensor, heads: int) -> Tensor:
    """Turn [batch, time, units] into [batch, heads, time, units / heads].

    Examples
    --------
    >>> by_head(torch.zeros(2, 7, 8), 4).shape
    torch.Size([2, 4, 7, 2])
    """
    return x.view(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2)


def start_gates(gates: nn.Linear, heads: int) -> None:
    """Begin with gates that do not depend on the input: input gates nearly shut, forget gates nearly open.

    Examples
    --------
    >>> gates = nn.Linear(5, 4)
    >>> start_gates(gates, 2)
    >>> gates.bias.tolist()
    [-10.0, -10.0, 3.0, 6.0]
    """
    with torch.no_grad():
        gates.weight.zero_()
        gates.bias[:heads] = -10.0
        gates.bias[heads:] = torch.linspace(3, 6, heads)
