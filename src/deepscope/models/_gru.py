"""Gated recurrent unit."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._cell import Cell
from deepscope.models._inputs import values
from deepscope.models._recurrence import State
from deepscope.models._sizes import positive
from deepscope.models._stack import Stack

Reset = Literal["before", "after"]


class GRUCell(Cell):
    """Layer of gated recurrent units: h' = (1 − z) ⊙ n + z ⊙ h, a mean of a candidate n and the state.

    ::

        r = σ(W_r x + U_r h + b_r)                    reset gate
        z = σ(W_z x + U_z h + b_z)                    update gate
        n = tanh(W_n x + U_n (r ⊙ h) + b_n)           candidate, reset before the product: the paper's
        n = tanh(W_n x + b_n + r ⊙ (U_n h + b_hn))    candidate, reset after the product: torch's and cuDNN's

    Maps [batch, time, input_size] to h, [batch, time, hidden_size]; the state is h, [batch, hidden_size], zero at
    first. With m inputs and n units it has 3n(m + n + 1) parameters, n more (``bias_hn``) where the reset comes after,
    and costs 6n(m + n) operations a step. Blocks stand in torch's order r, z, n. Weights begin uniform between ±1/√n,
    as torch's. Source: ``cho2014learning``, whose layer has no biases.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    reset
        ``"before"`` or ``"after"``.

    Raises
    ------
    UsageError
        A size below 1, or another ``reset``; when called: an input or a state that does not fit.

    Examples
    --------
    >>> cell = GRUCell(3, 8)
    >>> cell(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([2, 7, 8]), 288)
    """

    def __init__(self, input_size: int, hidden_size: int, *, reset: Reset = "before") -> None:
        if reset not in get_args(Reset):
            raise UsageError(f"reset is {reset!r}", where="GRUCell", todo='Give "before" or "after".')
        super().__init__(input_size, hidden_size, gates=3)
        self.reset = reset
        self.bias_hn = nn.Parameter(torch.empty(hidden_size)) if reset == "after" else None
        self.reset_parameters()

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self._zeros(batch)

    def _weights(self) -> tuple[Tensor, ...]:
        gates, candidate = torch.split(self.weight_hh, [2 * self.hidden_size, self.hidden_size])
        return gates.T, candidate.T

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h, (u_gates, u_candidate) = cast(Tensor, state), weights
        gates, candidate = torch.split(projected, [2 * self.hidden_size, self.hidden_size], -1)
        # In place where a sum is new and nobody else's: a step is bound by memory.
        r, z = torch.addmm(gates, h, u_gates).sigmoid_().chunk(2, -1)
        if self.bias_hn is None:
            n = torch.addmm(candidate, r * h, u_candidate)
        else:
            n = torch.addcmul(candidate, r, torch.addmm(self.bias_hn, h, u_candidate))
        h = torch.lerp(n.tanh_(), h, z)
        return h, h


class GRU(Stack):
    """Gated recurrent units: ``num_layers`` layers of ``GRUCell`` on top of one another.

    Maps [batch, time, input_size] to the last layer's h, [batch, time, hidden_size]; the state is a tuple of one
    [batch, hidden_size] a layer. With m inputs, n units and L layers it has 3n(m + n + 1) + (L − 1) 3n(2n + 1)
    parameters, n more a layer where the reset comes after. Source: ``cho2014learning``.

    Parameters
    ----------
    input_size, hidden_size, reset
        As ``GRUCell`` takes them.
    num_layers
        L.
    dropout
        Probability with which each number between two layers is dropped in training.

    Raises
    ------
    UsageError
        As ``GRUCell`` and ``Stack``.

    Examples
    --------
    >>> gru = GRU(3, 8, 2)
    >>> outputs, state = gru.scan(torch.zeros(2, 7, 3))
    >>> outputs.shape, len(state), sum(p.numel() for p in gru.parameters())
    (torch.Size([2, 7, 8]), 2, 696)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset: Reset = "before",
        dropout: float = 0.0,
    ) -> None:
        layers = [
            GRUCell(input_size if index == 0 else hidden_size, hidden_size, reset=reset)
            for index in range(positive(num_layers, "num_layers", self))
        ]
        super().__init__(layers, dropout=dropout)


def gru_100() -> GRU:
    """Return a layer of 100 gated recurrent units for rows of digits, 28 numbers a step; 38,700 parameters.

    The size is that of the minimal gated units it is compared with (``heck2017simplified``).

    Examples
    --------
    >>> gru_100()(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 28, 100])
    """
    return GRU(28, 100)


SPECIMENS = (
    Specimen(
        name="gru",
        title="gated recurrent units",
        build=gru_100,
        inputs=values(28, 28),
        parameters=38_700,
        formula="h ← (1 − z) ⊙ n + z ⊙ h with a candidate n = tanh(W x + U (r ⊙ h) + b), a reset gate r and an update "
        "gate z, both σ(W x + U h + b). With m inputs and n units a layer has 3n(m + n + 1) parameters, ¾ of those of "
        "long short-term memory.",
        source="cho2014learning",
        pinned_by="tests/models/test_gru.py::test_gates_at_their_limits_keep_the_state_or_forget_it",
    ),
)
