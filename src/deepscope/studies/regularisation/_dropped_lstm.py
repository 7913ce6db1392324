"""LSTM that drops what enters and leaves it, or the state that it hands on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.models import LSTMCell
from deepscope.training import Dropout


class DroppedLSTM(nn.Module):
    """Layer of long short-term memory with dropout, drawn anew for each number at each step.

    *Vertical*: its inputs and outputs are dropped, and no connection along time (``zaremba2014recurrent``).
    *Recurrent*: the h that it hands on to its next step is; its memory c is not. Maps [batch, time, width] to the same.

    Parameters
    ----------
    width
        Numbers of inputs and of units.
    vertical, recurrent
        Probabilities.

    Examples
    --------
    >>> DroppedLSTM(4, vertical=0.4)(torch.zeros(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    """

    def __init__(self, width: int, *, vertical: float = 0.0, recurrent: float = 0.0) -> None:
        super().__init__()
        self.cell = LSTMCell(width, width)
        self.vertical, self.recurrent = Dropout(vertical), Dropout(recurrent)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at all steps, from a state of zeros."""
        h, c = self.cell.initial_state(len(x))
        outputs = []
        for now in self.vertical(x).unbind(1):
            output, (h, c) = self.cell.step(now, (self.recurrent(h), c))
            outputs.append(output)
        found: Tensor = self.vertical(torch.stack(outputs, 1))
        return found
