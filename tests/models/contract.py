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

    What doing nothing scores is asserted as well: the loss before is at least 20 times as high. Not asked of what no
    loss of samples trains: the perceptron, whose rule has its convergence theorem; threshold networks, which are
    built; the self-organising map, which has no targets; deep BSDE, whose own test trains it to a known solution.
    """
    assert len(inputs) == 16
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with torch.no_grad():
        before = float(loss(model(inputs), targets))
    assert before > 20 * below
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        optimizer.step()
        if value.item() < below:
            return
    raise AssertionError(f"the loss is {value.item():.3g} after {steps} steps; it was {before:.3g}")


def behaves(model: nn.Module, other: nn.Module, inputs: Tensor) -> None:
    """Check what holds for every model of floating-point samples that do not mix in evaluation.

    Its state is all that it computes with: ``other`` is built alike and agrees when it has the same. It follows its
    dtype and device. A NaN comes out as one and stays in its sample.
    """
    other.load_state_dict(model.state_dict())
    model, other = model.eval(), other.eval()
    with torch.no_grad():
        outputs = model(inputs)
        assert outputs.dtype == inputs.dtype
        assert torch.equal(outputs, other(inputs))
        spoilt = inputs.clone()
        spoilt[0].view(-1)[spoilt[0].numel() // 2] = torch.nan
        after = model(spoilt)
        assert after[0].isnan().any()
        assert after[1:].isfinite().all()
        exact = other.double()(inputs.double())
        assert exact.dtype == torch.float64
        # A thousand units in the last place of float32: tens of layers that each round sums of hundreds of terms.
        torch.testing.assert_close(outputs.double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))
        if torch.cuda.is_available():
            there = other.float().cuda()(inputs.cuda())
            assert there.device.type == "cuda"
            # CUDA's convolutions may round their inputs to TensorFloat-32, of 11 bits.
            torch.testing.assert_close(there.cpu(), outputs, rtol=1e-2, atol=1e-2 * float(outputs.abs().max()))
