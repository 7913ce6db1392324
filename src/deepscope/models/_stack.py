"""Recurrent layers on top of one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State, tensors
from deepscope.models._sizes import probability


class Stack(Recurrence):
    """Recurrent layers on top of one another, each of which reads what the one below puts out.

    Maps [batch, time, input_size] to what the last layer makes of it. The state is a tuple of all layers' tensors, the
    lowest first: (h₁, c₁, h₂, c₂) for two layers of LSTM. Between two layers values are dropped in training, never
    along time (``zaremba2014recurrent``). The layers are called ``layers.0``, …, the norm above them ``norm``.

    Parameters
    ----------
    layers
        At least one; the lowest first.
    norm
        Of the last layer's outputs; none unless given.
    dropout
        Probability with which each number between two layers is dropped in training.

    Raises
    ------
    UsageError
        No layers, or a probability outside [0, 1); when called: an input or a state that does not fit.

    Examples
    --------
    >>> import torch
    >>> from deepscope.models import GRUCell, LSTMCell
    >>> stack = Stack([GRUCell(3, 8), LSTMCell(8, 5)])
    >>> outputs, state = stack.scan(torch.zeros(2, 7, 3))
    >>> outputs.shape, [list(each.shape) for each in state]
    (torch.Size([2, 7, 5]), [[2, 8], [2, 5], [2, 5]])
    """

    def __init__(self, layers: Iterable[Recurrence], *, norm: nn.Module | None = None, dropout: float = 0.0) -> None:
        layers = list(layers)
        if not layers:
            raise UsageError("there are no layers", where=type(self).__name__, todo="Give num_layers of at least 1.")
        super().__init__(layers[0].input_size)
        self.layers = nn.ModuleList(layers)
        states = [each.initial_state(0) for each in layers]
        #: Tensors of each layer's state; None where it is one tensor and no tuple.
        self._parts = [None if isinstance(own, Tensor) else len(own) for own in states]
        self.dropout = nn.Dropout(probability(dropout, "dropout", self))
        self.norm = norm

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the layers' states before the first step, in one tuple."""
        return tuple(part for layer in self._layers() for part in tensors(layer.initial_state(batch)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of every layer."""
        following: list[Tensor] = []
        for index, (layer, part) in enumerate(self._with_states(state)):
            x, part = layer.step(self.dropout(x) if index else x, part)
            following += tensors(part)
        return self._normed(x), tuple(following)

    def _outputs(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self._layers()):
            x = layer(self.dropout(x) if index else x)
        return self._normed(x)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following: list[Tensor] = []
        for index, (layer, part) in enumerate(self._with_states(state)):
            x, part = layer.scan(self.dropout(x) if index else x, part)
            following += tensors(part)
        return self._normed(x), tuple(following)

    def _normed(self, x: Tensor) -> Tensor:
        return x if self.norm is None else cast(Tensor, self.norm(x))

    def _layers(self) -> Iterator[Recurrence]:
        for layer in self.layers:
            assert isinstance(layer, Recurrence)
            yield layer

    def _with_states(self, state: State) -> Iterator[tuple[Recurrence, State]]:
        left = tensors(state)
        for layer, parts in zip(self._layers(), self._parts, strict=True):
            yield layer, (left[0] if parts is None else left[:parts])
            left = left[1 if parts is None else parts :]
