"""What every model must pass, called by the tests of each family with a small one of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepscope import examine
from deepscope.subject import Subject

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


def examined(model: nn.Module, inputs: Tensor) -> None:
    """Run all instruments that apply; not one may fail.

    Targets are random numbers of the outputs' shape, so that one loss serves every model.
    """
    with torch.no_grad():
        outputs = model(inputs)
    targets = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1)).to(outputs)
    examination = examine(Subject(model, [(inputs, targets)], squared_error), budget="quick")
    assert examination.failed == ()


def overfits(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    steps: int,
    rate: float = 1e-2,
    below: float = 1e-2,
) -> None:
    """Train by Adam on the 16 samples that are given until the loss is nearly zero.

    What doing nothing scores is asserted as well: the loss before is at least 20 times as high.
    """
    assert len(inputs) == 16
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    before = float(loss(model(inputs), targets))
    assert before > 20 * below
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        optimizer.step()
        if float(value) < below:
            return
    raise AssertionError(f"the loss is {float(value):.3g} after {steps} steps; it was {before:.3g}")
