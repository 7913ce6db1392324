"""Antisymmetric recurrent networks."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._antisymmetric import check_step
from deepscope.models._cell import Cell
from deepscope.models._inputs import values
from deepscope.models._recurrence import State


class AntisymmetricRNN(Cell):
    """Antisymmetric recurrent layer: h ← h + ε tanh(A h + V x + b) with A = W − Wᵀ − γ I.

    A step of Euler's method for an equation whose Jacobian has eigenvalues with real parts between −γ and 0: what
    the state holds neither explodes nor, with a small γ, vanishes over time. The gated layer multiplies the change by
    z = σ(A h + V_z x + b_z), with the same A. Maps [batch, time, input_size] to h, [batch, time, hidden_size]; the
    state is h, [batch, hidden_size], zero at first. ``weight_hh`` holds the n(n − 1)/2 numbers of W above its
    diagonal, row by row. With m inputs and n units there are n(n − 1)/2 + nm + n parameters, n(m + 1) more with a
    gate; a step costs 2n² + 2nm operations. V and W begin as N(0, 1/m) and N(0, 1/n), biases as 0. Source:
    ``chang2019antisymmetricrnn``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    step
        ε.
    diffusion
        γ.
    gated
        Whether there is a gate.

    Raises
    ------
    UsageError
        A size below 1, a step that is not above 0, a negative diffusion; when called: an input or a state that does
        not fit.

    Examples
    --------
    >>> layer = AntisymmetricRNN(3, 8)
    >>> layer(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 7, 8]), 60)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, step: float = 0.01, diffusion: float = 0.01, gated: bool = False
    ) -> None:
        super().__init__(input_size, hidden_size, gates=1 + gated)
        self.step_size, self.diffusion = check_step(step, diffusion, self)
        self.gated = gated
        self.weight_hh = nn.Parameter(torch.empty(hidden_size * (hidden_size - 1) // 2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.normal_(self.weight_ih, std=1 / math.sqrt(self.input_size))
        nn.init.normal_(self.weight_hh, std=1 / math.sqrt(self.hidden_size))
        nn.init.zeros_(self.bias)

    def generator(self) -> Tensor:
        """Return A, [hidden_size, hidden_size]."""
        n = self.hidden_size
        rows, columns = torch.triu_indices(n, n, 1, device=self.weight_hh.device)
        upper = self.weight_hh.new_zeros(n, n).index_put((rows, columns), self.weight_hh)
        return upper - upper.T - self.diffusion * torch.eye(n).to(upper)

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self._zeros(batch)

    def _weights(self) -> tuple[Tensor, ...]:
        return (self.generator().T,)

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h = cast(Tensor, state)
        if self.gated:
            driven, gate = projected.chunk(2, -1)
            moved = h @ weights[0]
            change = torch.sigmoid(moved + gate) * torch.tanh(moved + driven)
        else:
            change = torch.tanh(torch.addmm(projected, h, weights[0]))
        h = h + self.step_size * change
        return h, h


def antisymmetric_rnn_128() -> AntisymmetricRNN:
    """Return a layer of 128 units for one pixel a step, as for MNIST; 8,384 parameters.

    With an output of 10 classes it has the paper's 10 K. Source: ``chang2019antisymmetricrnn``.

    Examples
    --------
    >>> sum(p.numel() for p in antisymmetric_rnn_128().parameters())
    8384
    """
    return AntisymmetricRNN(1, 128)


def antisymmetric_rnn_gated_128() -> AntisymmetricRNN:
    """Return ``antisymmetric_rnn_128`` with a gate; 8,640 parameters.

    Source: ``chang2019antisymmetricrnn``.

    Examples
    --------
    >>> sum(p.numel() for p in antisymmetric_rnn_gated_128().parameters())
    8640
    """
    return AntisymmetricRNN(1, 128, gated=True)


SPECIMENS = (
    Specimen(
        name="antisymmetric-rnn",
        title="antisymmetric recurrent network",
        build=antisymmetric_rnn_128,
        inputs=values(24, 1),
        parameters=8_384,
        formula="h ← h + ε tanh((W − Wᵀ − γ I) h + V x + b): eigenvalues of the Jacobian of the equation behind it "
        "have real parts between −γ and 0.",
        source="chang2019antisymmetricrnn",
        pinned_by="tests/models/test_antisymmetric_rnn.py::test_what_the_state_holds_neither_explodes_nor_vanishes",
    ),
    Specimen(
        name="antisymmetric-rnn-gated",
        title="antisymmetric recurrent network with a gate",
        build=antisymmetric_rnn_gated_128,
        inputs=values(24, 1),
        parameters=8_640,
        formula="h ← h + ε σ(A h + V_z x + b_z) ⊙ tanh(A h + V x + b) with A = W − Wᵀ − γ I.",
        source="chang2019antisymmetricrnn",
        pinned_by="tests/models/test_antisymmetric_rnn.py::test_it_computes_its_formula",
    ),
)
