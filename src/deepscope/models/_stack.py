"""Recurrent layers on top of one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State, tensors
from deepscope.models._visible import VisibleRecurrence


class Stack(VisibleRecurrence):
    """Recurrent layers on top of one another, each of which reads what the one below puts out.

    Maps [batch, time, input_size] to what the last layer makes of it. The state is a tuple of all layers' tensors, the
    lowest first: (h₁, c₁, h₂, c₂) for two layers of LSTM. Between two layers values are dropped in training, never
    along time (``zaremba2014recurrent``). The layers are called ``layers.0``, …

    Parameters
    ----------
    layers
        At least one; the lowest first.
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

    def __init__(self, layers: Iterable[Recurrence], *, dropout: float = 0.0) -> None:
        layers = list(layers)
        if not layers:
            raise UsageError("there are no layers", where=type(self).__name__, todo="Give num_layers of at least 1.")
        if not 0 <= dropout < 1:
            raise UsageError(
                f"dropout is {dropout}", where=type(self).__name__, todo="Give a probability of at least 0, below 1."
            )
        super().__init__(layers[0].input_size)
        self.layers = nn.ModuleList(layers)
        #: Tensors of each layer's state; 0 where it is one tensor and no tuple.
        self._parts = [0 if isinstance(own, Tensor) else len(own) for own in (each.initial_state(0) for each in layers)]
        self.dropout = nn.Dropout(dropout)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the layers' states before the first step, in one tuple."""
        return tuple(part for layer in self._layers() for part in tensors(layer.initial_state(batch)))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of every layer."""
        following: list[Tensor] = []
        for index, (layer, part) in enumerate(self._with_states(state)):
            x, part = layer.step(self.dropout(x) if index else x, part)
            following += tensors(part)
        return x, tuple(following)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following: list[Tensor] = []
        for index, (layer, part) in enumerate(self._with_states(state)):
            x, part = layer.scan(self.dropout(x) if index else x, part)
            following += tensors(part)
        return x, tuple(following)

    def _layers(self) -> Iterator[Recurrence]:
        for layer in self.layers:
            assert isinstance(layer, Recurrence)
            yield layer

    def _with_states(self, state: State) -> Iterator[tuple[Recurrence, State]]:
        left = tensors(state)
        for layer, parts in zip(self._layers(), self._parts, strict=True):
            yield layer, (left[:parts] if parts else left[0])
            left = left[max(parts, 1) :]
