"""What a loss may be, and how many samples stand behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from deepscope.core import MeasurementError
from deepscope.subject import n_samples, scalar_loss


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_of_any_shape_is_a_scalar_with_its_graph(shape: tuple[int, ...]) -> None:
    outputs = torch.ones(shape, requires_grad=True)
    value = scalar_loss(lambda y, t: y * t, outputs, 3.0)
    assert value.shape == ()
    value.backward()
    assert outputs.grad is not None
    assert outputs.grad.item() == 3.0


@pytest.mark.parametrize(
    ("loss", "said"), [(lambda y, _: y, r"\[4, 2\]"), (lambda y, _: y.sum().item(), "float"), (lambda *_: None, "None")]
)
def test_anything_else_is_refused(loss: Callable[..., Any], said: str) -> None:
    with pytest.raises(MeasurementError, match=f"not a scalar but {said}"):
        scalar_loss(loss, torch.ones(4, 2), None)


@pytest.mark.parametrize(
    ("value", "n"),
    [
        (torch.ones(5, 2), 5),
        (torch.tensor(1.0), 1),
        (torch.ones(0, 2), 0),
        ((torch.ones(3), torch.ones(4)), 3),
        ([None, {"a": "text", "b": torch.ones(6)}], 6),
        ({}, 0),
        (None, 0),
    ],
)
def test_samples_are_the_length_of_the_first_tensor(value: Any, n: int) -> None:
    assert n_samples(value) == n
