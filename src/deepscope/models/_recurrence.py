"""What every model that reads a sequence step by step has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._sizes import check_sequence, positive

State: TypeAlias = Tensor | tuple[Tensor, ...]


class LastState:
    """Where a call puts the state after the last step: an object of its own, as hooks may copy lists and tuples."""

    value: State


class Recurrence(nn.Module, ABC):
    """A model that reads a sequence step by step: (y_t, s_t) = f(x_t, s_{t−1}).

    ``model(x)`` maps [batch, time, input_size] to [batch, time, …]; ``scan`` returns the last state as well, from which
    another call goes on: two calls on the halves of a sequence compute what one computes on the whole. It is itself a
    call of the model, so that hooks see the outputs wherever a model uses the state of another. A subclass defines
    ``initial_state`` and ``step``, may define ``_scan`` where it knows a faster way than one step after another, and
    ``_outputs`` where it knows a still faster one that has no last state.

    Parameters
    ----------
    input_size
        Features of the input at each step.

    Raises
    ------
    UsageError
        A size below 1; when called: an input that is not [batch, time, input_size] with at least one step, or a state
        of other shapes than ``initial_state`` gives.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = positive(input_size, "input_size", self)

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """Return the state before the first step, [batch, …] each, on the device and in the dtype of the parameters."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to an output and the next state."""

    def forward(self, x: Tensor, state: State | None = None, *, last: LastState | None = None) -> Tensor:
        """Return the outputs at all steps, [batch, time, …]; ``last`` gets the state after the last."""
        check_sequence(x, self.input_size, self)
        if state is None and last is None:
            return self._outputs(x)
        start = self.initial_state(len(x))
        if state is not None:
            check_state(state, start, self)
        outputs, following = self._scan(x, start if state is None else state)
        if last is not None:
            last.value = following
        return outputs

    def scan(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the outputs at all steps, [batch, time, …], and the state after the last.

        Parameters
        ----------
        x
            [batch, time, input_size].
        state
            Where to begin; ``initial_state`` unless given.
        """
        last = LastState()
        outputs: Tensor = self(x, state, last=last)
        return outputs, last.value

    def _outputs(self, x: Tensor) -> Tensor:
        """Return the outputs from the initial state on, where nobody asks for the last one."""
        return self._scan(x, self.initial_state(len(x)))[0]

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = []
        for each in x.unbind(1):
            output, state = self.step(each, state)
            outputs.append(output)
        return torch.stack(outputs, 1), state


def check_state(state: State, wanted: State, owner: object) -> None:
    """Refuse a state of other shapes than those of a state that is known to be right.

    Raises
    ------
    UsageError
        It has.
    """
    given, expected = ([list(part.shape) for part in tensors(each)] for each in (state, wanted))
    if given != expected:
        raise UsageError(
            f"the state's shapes are {given}",
            where=type(owner).__name__,
            todo=f"Give a state of this model and batch size: {expected}.",
        )


def tensors(state: State) -> tuple[Tensor, ...]:
    """Return a state as a tuple, also where it is one tensor.

    Examples
    --------
    >>> len(tensors(torch.zeros(2, 3)))
    1
    """
    return (state,) if isinstance(state, Tensor) else tuple(state)
