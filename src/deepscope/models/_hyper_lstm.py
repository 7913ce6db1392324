"""HyperLSTM: a long short-term memory whose weights a smaller one rescales at every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive

#: Input, forget and output gate, and the cell's candidate, in torch's order: i, f, g, o.
_GATES = 4


class HyperLSTM(Recurrence):
    """HyperLSTM: the rows of a memory's matrices are scaled, and its biases set, by a small LSTM that reads along.

    Maps [batch, time, input_size] to hidden states [batch, time, hidden_size]. With ĥₜ, the hidden state of an LSTM
    that reads (xₜ, hₜ₋₁), each of the gates y = i, f, g, o of the memory sees ::

        yₜ = d_h ⊙ W_h hₜ₋₁ + d_x ⊙ W_x xₜ + D_b z_b + b,   d_h = D_h z_h,   d_x = D_x z_x,

    where the embeddings z = E ĥₜ (+ e for z_h and z_x) have e numbers, and D, E, W and b are each gate's own. Then, as
    ever, cₜ = σ(f) cₜ₋₁ + σ(i) tanh(g) and hₜ = σ(o) tanh(cₜ). So the weights change from step to step, and to scale
    rows costs little: with n inputs, m units and a small LSTM of k units there are 4m (n + m + 1) + 4k (n + m + k + 1)
    + 12e (k + m) + 8e parameters, and a step costs about twice as many operations. A state is (h, c, ĥ, ĉ).

    As in the paper all scales begin at 0.1 and D_b at 0; matrices are orthogonal by gates, and the forget gate's bias
    is 1, also in the small LSTM. Its layer normalisation and recurrent dropout are left out; the defaults are its
    network of 1,000 units for characters, 4,861,824 parameters and with a linear layer for 50 characters 4.91 million.
    Both biases of torch's LSTM are one here and in the small one. Source: ``ha2017hypernetworks``.

    Parameters
    ----------
    input_size
        n.
    hidden_size
        m.
    hyper_size
        k.
    embedding_size
        e.

    Raises
    ------
    UsageError
        A size below 1; when called, as for any ``Recurrence``.

    Examples
    --------
    >>> model = HyperLSTM(5, 8, hyper_size=3, embedding_size=2)
    >>> model(torch.zeros(2, 7, 5)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 932)
    """

    def __init__(
        self, input_size: int = 50, hidden_size: int = 1000, *, hyper_size: int = 128, embedding_size: int = 4
    ) -> None:
        super().__init__(input_size)
        self.hidden_size = positive(hidden_size, "hidden_size", self)
        self.hyper_size = positive(hyper_size, "hyper_size", self)
        self.embedding_size = positive(embedding_size, "embedding_size", self)
        self.input = nn.Linear(input_size, _GATES * hidden_size, bias=False)
        self.recurrent = nn.Linear(hidden_size, _GATES * hidden_size, bias=False)
        self.bias = nn.Parameter(_forget_bias(hidden_size))
        self.hyper_input = nn.Linear(input_size + hidden_size, _GATES * hyper_size)
        self.hyper_recurrent = nn.Linear(hyper_size, _GATES * hyper_size, bias=False)
        self.recurrent_embedding = nn.Linear(hyper_size, _GATES * embedding_size)
        self.input_embedding = nn.Linear(hyper_size, _GATES * embedding_size)
        self.bias_embedding = nn.Linear(hyper_size, _GATES * embedding_size, bias=False)
        scale = torch.full((_GATES, hidden_size, embedding_size), 0.1 / embedding_size)
        self.recurrent_scale = nn.Parameter(scale.clone())
        self.input_scale = nn.Parameter(scale)
        self.bias_scale = nn.Parameter(torch.zeros_like(scale))
        self._start()

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return zeros: h and c, [batch, hidden_size], ĥ and ĉ, [batch, hyper_size]."""
        sizes = (self.hidden_size, self.hidden_size, self.hyper_size, self.hyper_size)
        return tuple(self.bias.new_zeros(batch, size) for size in sizes)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and (h, c, ĥ, ĉ) to h and the next state."""
        hidden, cell, hyper_hidden, hyper_cell = state
        hyper_gates = self.hyper_input(torch.cat([x, hidden], 1)) + self.hyper_recurrent(hyper_hidden)
        hyper_hidden, hyper_cell = _remembered(hyper_gates, hyper_cell)
        gates = (
            self._rows(self.recurrent_embedding, self.recurrent_scale, hyper_hidden) * self.recurrent(hidden)
            + self._rows(self.input_embedding, self.input_scale, hyper_hidden) * self.input(x)
            + self._rows(self.bias_embedding, self.bias_scale, hyper_hidden)
            + self.bias
        )
        hidden, cell = _remembered(gates, cell)
        return hidden, (hidden, cell, hyper_hidden, hyper_cell)

    def _rows(self, embedding: nn.Linear, scale: Tensor, hyper_hidden: Tensor) -> Tensor:
        """Return D z for all gates, [batch, 4 · hidden_size]."""
        z = embedding(hyper_hidden).reshape(-1, _GATES, self.embedding_size)
        return torch.einsum("bge,ghe->bgh", z, scale).flatten(1)

    def _start(self) -> None:
        for layer in (self.input, self.recurrent, self.hyper_input, self.hyper_recurrent):
            for gate in layer.weight.chunk(_GATES):
                nn.init.orthogonal_(gate)
        for embedding in (self.recurrent_embedding, self.input_embedding):
            nn.init.zeros_(embedding.weight)
            nn.init.ones_(embedding.bias)
        nn.init.normal_(self.bias_embedding.weight, std=0.01)
        with torch.no_grad():
            self.hyper_input.bias.copy_(_forget_bias(self.hyper_size))


def _remembered(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden state and the cell after a step of an LSTM whose gates see these numbers."""
    i, f, g, o = gates.chunk(_GATES, 1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _forget_bias(size: int) -> Tensor:
    """Return biases of 0, and 1 of the forget gate."""
    return torch.tensor([0.0, 1.0, 0.0, 0.0]).repeat_interleave(size)


SPECIMENS = (
    Specimen(
        name="hyperlstm",
        title="HyperLSTM of 1,000 units for characters",
        build=HyperLSTM,
        inputs=values(10, 50),
        parameters=4_861_824,
        formula="yₜ = d_h ⊙ W_h hₜ₋₁ + d_x ⊙ W_x xₜ + D_b z_b + b for each gate y of an LSTM, with d_h = D_h z_h, "
        "d_x = D_x z_x and embeddings z = E ĥₜ + e of the hidden state of a small LSTM that reads (xₜ, hₜ₋₁): weights "
        "that change from step to step.",
        source="ha2017hypernetworks",
        pinned_by="tests/models/test_hyper_lstm.py::test_with_scales_of_one_it_is_an_lstm_and_else_weights_change",
    ),
)
