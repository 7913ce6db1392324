"""The contract of recurrences itself: what breaks it is caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import Tensor, nn

from deepscope.models import GRUCell, LSTMCell, ResidualRecurrence, ResidualStack
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._stack import Stack


class Hidden(GRUCell):
    """Its scan is no call."""

    def scan(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self._scan(x, self.initial_state(len(x)) if state is None else state)


class Stepping(ResidualRecurrence):
    """Where there is a state it goes past the call of its mixer."""

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, state = self.mixer._scan(self.norm(x), state)
        return x + outputs, state


class Forgetful(GRUCell):
    """Goes on from nothing."""

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return super()._scan(x, self.initial_state(len(x)))


class Unchecked(GRUCell):
    """Takes what it gets."""

    def forward(self, x: Tensor, state: State | None = None, *, last: object = None) -> Tensor:
        return self._scan(x, self.initial_state(len(x)) if state is None else state)[0]


class Backwards(GRUCell):
    """Sees the future."""

    def _outputs(self, x: Tensor) -> Tensor:
        return super()._outputs(x.flip(1)).flip(1)


@pytest.mark.parametrize(
    ("check", "model"),
    [
        (scans_in_sight, lambda: Hidden(3, 4)),
        (scans_in_sight, lambda: Stack([GRUCell(3, 4), Hidden(4, 4)])),
        (scans_in_sight, lambda: Stepping(GRUCell(3, 3))),
        (reads_step_by_step, lambda: Forgetful(3, 4)),
        (reads_step_by_step, lambda: Backwards(3, 4)),
    ],
)
def test_what_breaks_the_contract_is_caught(
    check: Callable[[Recurrence], None], model: Callable[[], Recurrence]
) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        check(model())


def test_what_is_not_refused_is_caught() -> None:
    torch.manual_seed(0)
    with pytest.raises((RuntimeError, pytest.fail.Exception)):
        refuses_what_does_not_fit(Unchecked(3, 4))
    assert not sees_no_later_step(Backwards(3, 4))
    assert sees_no_later_step(GRUCell(3, 4))


def test_stacks_hold_states_of_every_form() -> None:
    """One tensor, several, and none: the state is all of them in a row, and each layer gets its own back."""
    torch.manual_seed(0)

    class Stateless(Recurrence):
        def __init__(self, width: int) -> None:
            super().__init__(width)
            self.linear = nn.Linear(width, width)

        def initial_state(self, batch: int) -> State:
            return ()

        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            return self.linear(x), state

    layers = (LSTMCell(3, 3), Stateless(3), GRUCell(3, 3), Stateless(3))
    for model in (Stack(layers, norm=nn.LayerNorm(3)), ResidualStack(layers)):
        assert [list(each.shape) for each in model.initial_state(2)] == [[2, 3]] * 3
        reads_step_by_step(model)
        scans_in_sight(model)
        refuses_what_does_not_fit(model)
