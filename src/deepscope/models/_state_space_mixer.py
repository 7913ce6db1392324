"""State spaces whose features are mixed: the layer of deep S4 networks."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from deepscope.models._recurrence import Recurrence, State
from deepscope.models._state_space import StateSpace


class StateSpaceMixer(Recurrence):
    """State space models of each feature, a non-linearity, and a gated linear map that mixes the features.

    Maps [batch, time, width] to as many numbers, as the layers of deep S4 and S4D networks do::

        y = GLU(W GELU(s(x)) + b),     GLU((u, v)) = u ⊙ σ(v)

    The state space s acts on each feature alone; W, [2 width, width], mixes them. It has 2 w (w + 1) parameters and
    those of s. A network of such layers is ``ResidualStack`` of them. The state is that of s.
    Source: ``gu2022parameterization``.

    Parameters
    ----------
    state_space
        s: an ``LSSL``, ``S4``, ``S4D`` or ``DSS``.

    Raises
    ------
    UsageError
        When called: an input or a state that does not fit.

    Examples
    --------
    >>> import torch
    >>> from deepscope.models import S4D, ResidualStack
    >>> model = ResidualStack([StateSpaceMixer(S4D(8, 4)), StateSpaceMixer(S4D(8, 4))])
    >>> model(torch.zeros(2, 7, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 8]), 560)
    """

    def __init__(self, state_space: StateSpace) -> None:
        width = state_space.input_size
        super().__init__(width)
        self.state_space, self.activation = state_space, nn.GELU()
        self.output, self.gate = nn.Linear(width, 2 * width), nn.GLU()

    def initial_state(self, batch: int) -> State:
        """Return the state space's."""
        return self.state_space.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of the state space."""
        outputs, state = self.state_space.step(x, state)
        return self._mixed(outputs), state

    def _outputs(self, x: Tensor) -> Tensor:
        return self._mixed(self.state_space(x))

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, state = self.state_space.scan(x, state)
        return self._mixed(outputs), state

    def _mixed(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.gate(self.output(self.activation(x))))
