"""Recurrences whose scan is seen from outside."""

from __future__ import annotations

from torch import Tensor

from deepscope.models._recurrence import Recurrence, State


class LastState:
    """Where a call puts the state after the last step: an object of its own, as hooks may copy lists and tuples."""

    value: State


class VisibleRecurrence(Recurrence):
    """A recurrence whose ``scan`` is a call of it, so that hooks see its outputs wherever a model uses its state."""

    def forward(self, x: Tensor, state: State | None = None, *, last: LastState | None = None) -> Tensor:
        """Return the outputs at all steps, [batch, time, …]; ``last`` gets the state after the last."""
        outputs, following = super().scan(x, state)
        if last is not None:
            last.value = following
        return outputs

    def scan(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the outputs at all steps, [batch, time, …], and the state after the last; see ``Recurrence``."""
        last = LastState()
        outputs: Tensor = self(x, state, last=last)
        return outputs, last.value
