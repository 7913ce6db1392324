"""A short causal convolution of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive


class CausalConvolution(Recurrence):
    """A causal convolution of each channel with a short kernel: y_t = b + Σ_j w_j x_{t−k+1+j}.

    Maps [batch, time, channels] to as many numbers, with (k + 1) × channels parameters. The state is the last k − 1
    inputs, [batch, k − 1, channels], oldest first. Source: ``gu2024mamba``.

    Parameters
    ----------
    channels
        Of the input.
    kernel_size
        k.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = CausalConvolution(8)
    >>> model(torch.zeros(2, 5, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 8]), 40)
    """

    def __init__(self, channels: int, kernel_size: int = 4) -> None:
        super().__init__(channels)
        self.kernel_size = positive(kernel_size, "kernel_size", self)
        self.convolution = nn.Conv1d(channels, channels, kernel_size, groups=channels)

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros in place of earlier inputs."""
        return self.convolution.weight.new_zeros(batch, self.kernel_size - 1, self.input_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, channels] and the inputs before it to an output and the next state."""
        output, state = self._scan(x[:, None], state)
        return output[:, 0], state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Tensor)
        seen = torch.cat((state, x), 1)
        return self.convolution(seen.mT).mT, seen[:, x.shape[1] :]
