"""Recurrent network (Elman)."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError, nearest
from deepscope.models._cell import Cell
from deepscope.models._inputs import values
from deepscope.models._recurrence import State
from deepscope.models._sizes import positive
from deepscope.models._stack import Stack

_FUNCTIONS = {"tanh": torch.tanh, "relu": torch.relu}


class RNNCell(Cell):
    """Recurrent layer: hₜ = φ(W xₜ + U hₜ₋₁ + b), whose output is its state h.

    Maps [batch, time, input_size] to [batch, time, hidden_size]; the state is [batch, hidden_size], zero at first. With
    m inputs and n units it has n(m + n + 1) parameters and costs 2n(m + n) operations a step. Weights begin uniform
    between ±1/√n, as torch's. Source: ``elman1990finding``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    activation
        φ: ``"tanh"``, or ``"relu"`` (``le2015simple``); the paper's is the logistic function.

    Raises
    ------
    UsageError
        A size below 1, or another activation; when called: an input or a state that does not fit.

    Examples
    --------
    >>> cell = RNNCell(3, 8)
    >>> cell(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([2, 7, 8]), 96)
    """

    def __init__(self, input_size: int, hidden_size: int, *, activation: str = "tanh") -> None:
        super().__init__(input_size, hidden_size, gates=1)
        if activation not in _FUNCTIONS:
            raise UsageError("unknown activation", where=activation, todo=nearest(activation, _FUNCTIONS))
        self.activation = activation
        self.reset_parameters()

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self._zeros(batch)

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h = _FUNCTIONS[self.activation](torch.addmm(projected, cast(Tensor, state), weights[0]))
        return h, h


class RNN(Stack):
    """Recurrent network: ``num_layers`` layers of ``RNNCell`` on top of one another.

    Maps [batch, time, input_size] to the states of the last layer, [batch, time, hidden_size]; the state is a tuple of
    one [batch, hidden_size] a layer. With m inputs, n units and L layers it has n(m + n + 1) + (L − 1) n(2n + 1)
    parameters. Source: ``elman1990finding``.

    Parameters
    ----------
    input_size, hidden_size, activation
        As ``RNNCell`` takes them.
    num_layers
        L.
    dropout
        Probability with which each number between two layers is dropped in training.

    Raises
    ------
    UsageError
        As ``RNNCell`` and ``Stack``.

    Examples
    --------
    >>> rnn = RNN(3, 8, 2)
    >>> outputs, state = rnn.scan(torch.zeros(2, 7, 3))
    >>> outputs.shape, len(state), sum(p.numel() for p in rnn.parameters())
    (torch.Size([2, 7, 8]), 2, 232)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        layers = [
            RNNCell(input_size if index == 0 else hidden_size, hidden_size, activation=activation)
            for index in range(positive(num_layers, "num_layers", self))
        ]
        super().__init__(layers, dropout=dropout)


def elman_network() -> nn.Sequential:
    """Return Elman's network for letters of words: 5 bits, 20 tanh units with recurrence, 5 outputs; 625 parameters.

    Maps [batch, time, 5] to the next letter's bits, [batch, time, 5]. Source: ``elman1990finding``.

    Examples
    --------
    >>> elman_network()(torch.zeros(2, 7, 5)).shape
    torch.Size([2, 7, 5])
    """
    return nn.Sequential(OrderedDict(rnn=RNN(5, 20), output=nn.Linear(20, 5)))


SPECIMENS = (
    Specimen(
        name="elman-network",
        title="recurrent network",
        build=elman_network,
        inputs=values(12, 5),
        parameters=625,
        formula="hₜ = tanh(W xₜ + U hₜ₋₁ + b), yₜ = V hₜ + c: the state h is what the network knows of the past. "
        "With m inputs and n units the recurrent layer has n(m + n + 1) parameters.",
        source="elman1990finding",
        pinned_by="tests/models/test_rnn.py::test_outputs_and_states_are_those_of_torch",
    ),
)
