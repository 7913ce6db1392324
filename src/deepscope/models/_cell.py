"""What recurrent layers of one hidden vector and several gates have in common."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive


class Cell(Recurrence):
    """A recurrent layer whose gates see W xₜ + U hₜ₋₁ + b; the blocks of W, U and b stand one under another.

    ``weight_ih`` is W, [gates · hidden_size, input_size], ``weight_hh`` U, [gates · hidden_size, hidden_size], and
    ``bias`` b, [gates · hidden_size]: one bias where torch's layers have two, which are always added. They begin
    uniform between ±1/√hidden_size, as torch's: a subclass calls ``reset_parameters`` when it has all of its own. It
    defines ``_update``, which gets W xₜ + b. What does not depend on the state is computed for all steps by one matrix
    product; the steps then follow one another in plain operations of torch, which can be differentiated as often as
    is wanted on every device.

    Parameters
    ----------
    input_size
        Features of the input at each step.
    hidden_size
        Units.
    gates
        Number of blocks.

    Raises
    ------
    UsageError
        A size below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, gates: int) -> None:
        super().__init__(input_size)
        self.hidden_size = positive(hidden_size, "hidden_size", self)
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(gates * hidden_size))

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @abstractmethod
    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        """Return the output and the next state, from W x + b, [batch, gates · hidden_size], state and ``_weights``."""

    def _weights(self) -> tuple[Tensor, ...]:
        """Return what all steps share. A slice taken at each step would cost a whole gradient at each step."""
        return (self.weight_hh.T,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to an output [batch, hidden_size] and the next state."""
        return self._update(self._project(x), state, self._weights())

    def _project(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight_ih, self.bias)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, weights = [], self._weights()
        # Time first, so that what a step reads, and the gradient that it writes, lie in one piece.
        for projected in self._project(x.transpose(0, 1)):
            output, state = self._update(projected, state, weights)
            outputs.append(output)
        return torch.stack(outputs, 1), state

    def _zeros(self, batch: int) -> Tensor:
        return self.weight_hh.new_zeros(batch, self.hidden_size)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.input_size}, {self.hidden_size}"
