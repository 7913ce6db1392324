"""Zoneout: a recurrent network whose state stays as it was, in places."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from deepscope.core import Specimen, UsageError
from deepscope.training._rate import check, rate


class Zoneout(nn.Module):
    """Recurrent network over one of torch's cells, each of whose units keeps its last value with probability p.

    h_t = z ∘ h_{t−1} + (1 − z) ∘ h̃_t with h̃_t = f(x_t, h_{t−1}), the cell's step from a state of zeros, and z = 1 with
    probability p and 0 otherwise, drawn for each unit of each sample and step; an LSTM's memory likewise, with a z and
    a rate of its own. In evaluation p takes the place of z, which is the mean of a step. Where dropout sets a state to
    0, this leaves it, and its gradient, as they were. Maps [batch, time, input_size] to the states [batch, time,
    hidden_size]. Source: ``krueger2017zoneout``.

    Parameters
    ----------
    cell
        ``nn.RNNCell``, ``nn.GRUCell`` or ``nn.LSTMCell``.
    state_p, memory_p
        Shares of the state's units, and of an LSTM's memory, that stay.

    Raises
    ------
    UsageError
        Another cell; a share that is not in [0, 1); when called: an input of another size or without a step.

    Examples
    --------
    >>> network = Zoneout(nn.GRUCell(4, 6))
    >>> network(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 5, 6])
    """

    def __init__(
        self, cell: nn.RNNCell | nn.GRUCell | nn.LSTMCell, *, state_p: float = 0.05, memory_p: float = 0.5
    ) -> None:
        super().__init__()
        if not isinstance(cell, (nn.RNNCell, nn.GRUCell, nn.LSTMCell)):
            raise UsageError(
                f"cell is {type(cell).__name__}",
                where="Zoneout",
                todo="Give an nn.RNNCell, nn.GRUCell or nn.LSTMCell.",
            )
        self.cell = cell
        self.state_p = rate(state_p, "state_p", "Zoneout")
        self.memory_p = rate(memory_p, "memory_p", "Zoneout")

    def forward(self, x: Tensor) -> Tensor:
        """Return the states at all steps."""
        size = self.cell.input_size
        fits = x.ndim == 3 and x.shape[1] > 0 and x.shape[2] == size
        check(x, fits, f"[batch, time, {size}], with at least one step,", "Zoneout")
        state = memory = x.new_zeros(len(x), self.cell.hidden_size)
        states = []
        for now in x.unbind(1):
            if isinstance(self.cell, nn.LSTMCell):
                next_state, next_memory = self.cell(now, (state, memory))
                memory = self._partly(memory, next_memory, self.memory_p)
            else:
                next_state = self.cell(now, state)
            state = self._partly(state, next_state, self.state_p)
            states.append(state)
        return torch.stack(states, 1)

    def _partly(self, last: Tensor, new: Tensor, p: float) -> Tensor:
        # Dropout of the change alone, without its scale: in evaluation the share that is not dropped.
        change = (1 - p) * dropout(new - last, p, self.training)
        return last + change

    def extra_repr(self) -> str:
        """Return the shares."""
        return f"state_p={self.state_p}, memory_p={self.memory_p}"


SPECIMENS = (
    Specimen(
        name="zoneout",
        title="recurrent network whose units keep their last value at random",
        build=Zoneout,
        formula="hₜ = z ∘ hₜ₋₁ + (1 − z) ∘ f(xₜ, hₜ₋₁), z = 1 with probability p and 0 otherwise, drawn for each unit "
        "and step; p in place of z in evaluation.",
        source="krueger2017zoneout",
        pinned_by="tests/training/test_zoneout.py::test_units_keep_their_value_or_take_the_cells",
    ),
)
