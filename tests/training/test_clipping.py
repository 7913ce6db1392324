from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import Callback, GradientClipping, ValueClipping, fit


def step(slopes: Tensor, *callbacks: Callback) -> list[float]:
    """What plain descent at a rate of 1 moves weights by whose gradient is ``slopes``."""
    model = nn.Linear(len(slopes), 1, bias=False).double()
    nn.init.zeros_(model.weight)
    fit(
        model,
        lambda epoch: [(slopes.unsqueeze(0), torch.zeros(1))],
        lambda outputs, targets: outputs.sum(),
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        epochs=1,
        callbacks=callbacks,
    )
    return [-each for each in model.weight.flatten().tolist()]


def test_a_long_gradient_keeps_its_direction_and_a_short_one_its_length() -> None:
    slopes = torch.tensor([3.0, -4.0, 0.0], dtype=torch.float64)
    # torch divides by the norm + 1e-6.
    assert step(slopes, GradientClipping(1.0)) == pytest.approx([0.6, -0.8, 0.0], rel=1e-6)
    assert step(slopes, GradientClipping(5.1)) == [3.0, -4.0, 0.0]


def test_each_component_is_limited_by_itself() -> None:
    slopes = torch.tensor([3.0, -4.0, 0.5], dtype=torch.float64)
    assert step(slopes, ValueClipping(1.0)) == [1.0, -1.0, 0.5]
    assert step(slopes, ValueClipping(10.0)) == [3.0, -4.0, 0.5]
    assert ValueClipping(10.0).configuration() == {"limit": 10.0}


def test_a_limit_of_0_is_refused() -> None:
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="limit"):
            ValueClipping(limit)
