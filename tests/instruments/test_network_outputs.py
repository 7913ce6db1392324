"""What a network returns beside its answer makes no difference, whatever measures it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import DeepscopeError, Needs
from deepscope.instruments import INSTRUMENTS, jacobian, kernel, regions
from deepscope.subject import Subject

RETURNED = {
    "none": lambda y, h: (y, None),
    "state": lambda y, h: (y, h),
    "state of layers": lambda y, h: [y, (h[None], h[None])],
    "mapping": lambda y, h: {"hidden": h, "logits": y},
}


class Network(nn.Module):
    def __init__(self, returned: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out, self.returned = nn.Linear(4, 8), nn.Linear(8, 3), returned

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.hidden(x))
        return self.returned(self.out(h), h)


def subject(returned: Any) -> Subject:
    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        logits = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        return functional.cross_entropy(logits, targets)

    return Subject(Network(returned).eval(), [(x, labels)], loss)


def measured(instrument: Any, returned: Any) -> dict[str, str]:
    one = subject(returned)
    reading = instrument.measure(one, **instrument.effort("quick", one))
    fields = {each.name for each in dataclasses.fields(reading)} - {"cost"}
    with np.printoptions(floatmode="unique", threshold=10**6):
        return {name: repr(getattr(reading, name)) for name in fields}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.name)
def test_what_is_returned_beside_the_answer_makes_no_difference(instrument: Any) -> None:
    if Needs.LOSS in instrument.needs:
        # What a loss makes of it is the user's; of a state that is no part of it, rounding may differ.
        assert measured(instrument, RETURNED["none"])
        assert measured(instrument, RETURNED["state"])
        return
    expected = measured(instrument, lambda y, h: y)
    for returned in RETURNED.values():
        assert measured(instrument, returned) == expected


@pytest.mark.parametrize("measure", [jacobian, kernel, regions])
@pytest.mark.parametrize("returned", [lambda y, h: y[:, :0], lambda y, h: (y.argmax(1), None), lambda y, h: None])
def test_a_network_without_an_answer_is_a_clear_error(measure: Any, returned: Any) -> None:
    with pytest.raises(DeepscopeError, match=r"the outputs (are not a floating-point tensor|do not depend)"):
        measure(subject(returned))


def test_a_state_that_cannot_be_bounded_leaves_the_bound() -> None:
    """A square has no Lipschitz constant; what is returned beside the outputs is not theirs."""
    alone = jacobian(subject(lambda y, h: y))
    for returned in (lambda y, h: (y, h * h), lambda y, h: {"other": 100 * h, "logits": y}):
        assert jacobian(subject(returned)).lipschitz_bound == alone.lipschitz_bound > 0
    assert jacobian(subject(lambda y, h: (h * h, y))).lipschitz_bound is None


def test_a_network_that_overwrites_what_its_derivatives_are_made_of_is_a_clear_error() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.hidden(x))
            h += 1
            return self.out(h)

    torch.manual_seed(0)
    for samples in (1, 8):
        with pytest.raises(DeepscopeError, match="changes values in place"):
            jacobian(Subject(Overwriting(), [(torch.randn(samples, 4), None)]))
