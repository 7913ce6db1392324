"""A recurrent network with a linear output."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest
from deepscope.models import GRU, RNN, MinimalGatedUnit

CELLS = ("lstm", "gru", "rnn", "identity rnn", "mgu1", "mgu2", "mgu3")


class SequenceReader(nn.Module):
    """One recurrent layer, and a linear map of its output at the last step to one number.

    Maps [batch, time, n_inputs] to [batch].

    Parameters
    ----------
    cell
        One of ``CELLS``: long short-term memory with forget bias 1, gated recurrent units, a tanh network; rectified
        units whose recurrent matrix begins as the identity, biases as 0 (``le2015simple``); minimal gated units whose
        gate sees state and bias, the state, the bias (``heck2017simplified``).
    n_inputs, units
        Sizes.

    Raises
    ------
    UsageError
        There is no such cell.

    Notes
    -----
    The LSTM is torch's, whose fused kernel takes a quarter of the time of a loop over steps; it has two biases, which
    are added to one another. The other cells are those of ``deepscope.models``, as fast as torch's on a processor.

    Examples
    --------
    >>> SequenceReader("gru", 2, 8)(torch.zeros(3, 5, 2)).shape
    torch.Size([3])
    """

    def __init__(self, cell: str, n_inputs: int, units: int) -> None:
        super().__init__()
        self.recurrent = _recurrent(cell, n_inputs, units)
        self.output = nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        found = self.recurrent(x)
        hidden = found[0] if isinstance(found, tuple) else found
        return cast(Tensor, self.output(hidden[:, -1]).squeeze(1))


def _recurrent(cell: str, n_inputs: int, units: int) -> nn.Module:
    if cell == "lstm":
        lstm = nn.LSTM(n_inputs, units, batch_first=True)
        for name, bias in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
            nn.init.constant_(lstm.get_parameter(name)[units : 2 * units], bias)
        return lstm
    if cell == "gru":
        return GRU(n_inputs, units)
    if cell == "rnn":
        return RNN(n_inputs, units)
    if cell == "identity rnn":
        network = RNN(n_inputs, units, activation="relu")
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "weight_hh" in name:
                    nn.init.eye_(parameter)
                elif "bias" in name:
                    nn.init.zeros_(parameter)
        return network
    if cell == "mgu1":
        return MinimalGatedUnit(n_inputs, units, gate="state and bias")
    if cell == "mgu2":
        return MinimalGatedUnit(n_inputs, units, gate="state")
    if cell == "mgu3":
        return MinimalGatedUnit(n_inputs, units, gate="bias")
    raise UsageError(f"the cell is {cell!r}", where="cell", todo=nearest(cell, CELLS))
