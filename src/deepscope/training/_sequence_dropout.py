"""Dropout for sequences: one mask for all steps, between layers and on a recurrent network's state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from deepscope.core import Specimen, UsageError
from deepscope.training._rate import check, rate


class SequenceDropout(nn.Module):
    """Drop the same features at all steps of a sequence: y_t = x_t ∘ m/(1 − p), with one mask m for each sequence.

    Maps [batch, time, features] to the same. In evaluation y = x. Mean x, variance x² p/(1 − p); the mean over T equal
    steps has this variance as well, and not its T-th part as with masks of their own. Source: ``gal2016theoretically``.

    Parameters
    ----------
    p
        Share of features that is dropped.

    Raises
    ------
    UsageError
        p is not in [0, 1); when called: an input that is not [batch, time, features] of floating-point numbers.

    Examples
    --------
    >>> y = SequenceDropout(0.5)(torch.ones(1, 3, 8))
    >>> torch.equal(y[:, 0], y[:, 1]), torch.equal(y[:, 0], y[:, 2])
    (True, True)
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = rate(p, "p", "SequenceDropout")

    def forward(self, x: Tensor) -> Tensor:
        """Return the sequences without the dropped features."""
        check(x, x.ndim == 3, "[batch, time, features]", "SequenceDropout")
        return x * dropout(torch.ones_like(x[:, :1]), self.p, self.training) if x.shape[1] else x

    def extra_repr(self) -> str:
        """Return p."""
        return f"p={self.p}"


class VariationalRecurrence(nn.Module):
    """Recurrent network over one of torch's cells whose inputs and states have one mask each for all steps.

    h_t = f(x_t ∘ mₓ, h_{t−1} ∘ m_h), from a state of zeros: the whole sequence is read by one draw of the network,
    whose rows of weights are dropped, so that what it keeps in its state is not lost a little more at each step. An
    LSTM's cell state is not masked. Maps [batch, time, input_size] to the states [batch, time, hidden_size]. Masks are
    scaled by 1/(1 − p), so that evaluation has none. A GRU is not taken: its cell would mask what the state keeps as
    well, which is then lost, or grows, at each step. Source: ``gal2016theoretically``.

    Parameters
    ----------
    cell
        ``nn.RNNCell`` or ``nn.LSTMCell``.
    input_p, state_p
        Shares of the inputs and of the states that are dropped.

    Raises
    ------
    UsageError
        Another cell; a share that is not in [0, 1); when called: an input of another size or without a step.

    Examples
    --------
    >>> network = VariationalRecurrence(nn.LSTMCell(4, 6))
    >>> network(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 5, 6])
    """

    def __init__(self, cell: nn.RNNCell | nn.LSTMCell, *, input_p: float = 0.25, state_p: float = 0.25) -> None:
        super().__init__()
        if not isinstance(cell, (nn.RNNCell, nn.LSTMCell)):
            raise UsageError(
                f"cell is {type(cell).__name__}",
                where="VariationalRecurrence",
                todo="Give an nn.RNNCell or nn.LSTMCell.",
            )
        self.cell = cell
        self.input_p = rate(input_p, "input_p", "VariationalRecurrence")
        self.state_p = rate(state_p, "state_p", "VariationalRecurrence")

    def forward(self, x: Tensor) -> Tensor:
        """Return the states at all steps, not masked."""
        size = self.cell.input_size
        fits = x.ndim == 3 and x.shape[1] > 0 and x.shape[2] == size
        check(x, fits, f"[batch, time, {size}], with at least one step,", "VariationalRecurrence")
        kept_inputs = dropout(torch.ones_like(x[:, 0]), self.input_p, self.training)
        state = x.new_zeros(len(x), self.cell.hidden_size)
        kept_states = dropout(torch.ones_like(state), self.state_p, self.training)
        memory, states = state, []
        for now in (x * kept_inputs[:, None]).unbind(1):
            if isinstance(self.cell, nn.LSTMCell):
                state, memory = self.cell(now, (state * kept_states, memory))
            else:
                state = self.cell(now, state * kept_states)
            states.append(state)
        return torch.stack(states, 1)

    def extra_repr(self) -> str:
        """Return the shares."""
        return f"input_p={self.input_p}, state_p={self.state_p}"


SPECIMENS = (
    Specimen(
        name="sequence-dropout",
        title="dropout with one mask for all steps of a sequence",
        build=SequenceDropout,
        formula="yₜ = xₜ ∘ m/(1 − p), one mask m for all steps t of a sequence: m is 0 with probability p, 1 "
        "otherwise.",
        source="gal2016theoretically",
        pinned_by="tests/training/test_sequence_dropout.py::test_one_mask_holds_for_all_steps_of_a_sequence",
    ),
    Specimen(
        name="variational-recurrence",
        title="recurrent network with one mask for all steps on its inputs and states",
        build=VariationalRecurrence,
        formula="hₜ = f(xₜ ∘ mₓ, hₜ₋₁ ∘ m_h): f is an RNN or LSTM cell, and mₓ and m_h are drawn once for each "
        "sequence.",
        source="gal2016theoretically",
        pinned_by="tests/training/test_sequence_dropout.py::test_a_draw_is_the_network_without_rows_of_its_weights",
    ),
)
