from __future__ import annotations

import pytest
import torch
from ncps.torch.cfc_cell import CfCCell
from recurrences import (
    learns_16_sequences,
    numbers,
    reads_step_by_step,
    refuses_what_does_not_fit,
    scans_in_sight,
    sees_no_later_step,
)
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import ClosedFormContinuous, LiquidTimeConstant


@torch.no_grad()
def outside(layer: LiquidTimeConstant, outputs: Tensor) -> float:
    """How far the states leave [min(0, A), max(0, A)]."""
    low, high = layer.reversal.clamp(max=0), layer.reversal.clamp(min=0)
    return torch.maximum(low - outputs, outputs - high).max().item()


@pytest.mark.parametrize("interval", [0.01, 1.0, 1e6])
def test_states_stay_between_0_and_a_whatever_the_input(interval: float) -> None:
    torch.manual_seed(0)
    layer = LiquidTimeConstant(2, 40, interval=interval).double()
    x = numbers(4, 60, 2) * torch.logspace(-2, 6, 4, dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        layer.weight_hh *= 30
        outputs = layer(x)
        # A mean of numbers in the interval, but for a rounding of at most some units in the last place of A.
        assert outside(layer, outputs) <= 1e-15 * layer.reversal.abs().max().item()
        # The bound is met from inside: some state comes as close to A as its leak allows.
        assert (outputs / layer.reversal).max() > min(0.3, interval)
        # Planted: an explicit step of Euler leaves it.
        h, step = torch.zeros(4, 40, dtype=torch.float64), 2.0
        reached = []
        for each in x.unbind(1):
            f = torch.sigmoid(each @ layer.weight_ih.T + h @ layer.weight_hh.T + layer.bias)
            h = h + step * (-(1 + f) * h + f * layer.reversal)
            reached.append(h)
    assert outside(layer, torch.stack(reached, 1)) > 0.1


def test_its_solver_approaches_the_solution_at_first_order() -> None:
    torch.manual_seed(0)
    layer = LiquidTimeConstant(2, 10).double()
    x = numbers(1, 1, 2)

    def slope(h: Tensor) -> Tensor:
        f = torch.sigmoid(layer.weight_ih @ x[0, 0] + layer.weight_hh @ h + layer.bias)
        return -(torch.exp(-layer.log_tau) + f) * h + f * layer.reversal

    h, small = torch.zeros(10, dtype=torch.float64), 1 / 200
    with torch.no_grad():
        for _ in range(200):
            # Runge–Kutta of order 4: its own error is about 1e-10.
            a = slope(h)
            b = slope(h + small / 2 * a)
            c = slope(h + small / 2 * b)
            h = h + small / 6 * (a + 2 * b + 2 * c + slope(h + small * c))
        errors = []
        for unfolds in (20, 40, 80):
            layer.unfolds = unfolds
            errors.append((layer(x)[0, 0] - h).norm().item())
    # An error C Δ + O(Δ²): with Δ ≤ 1/20 the ratio is 2 to within some Δ.
    assert abs(errors[0] / errors[1] - 2) < 0.15
    assert abs(errors[1] / errors[2] - 2) < 0.1


def test_it_computes_its_formula() -> None:
    torch.manual_seed(0)
    layer = LiquidTimeConstant(3, 5, interval=0.6, unfolds=3).double()
    with torch.no_grad():
        layer.log_tau.copy_(numbers(5, seed=2))
    x, h = numbers(6, 3), torch.zeros(5, dtype=torch.float64)
    outputs = layer(x[None])
    for t in range(6):
        for _ in range(3):
            f = torch.sigmoid(layer.weight_ih @ x[t] + layer.weight_hh @ h + layer.bias)
            h = (h + 0.2 * f * layer.reversal) / (1 + 0.2 * (1 / torch.exp(layer.log_tau) + f))
        torch.testing.assert_close(outputs[0, t], h, rtol=0, atol=1e-13)
    assert sum(each.numel() for each in layer.parameters()) == 5 * (3 + 5 + 3)


@pytest.mark.parametrize("interval", [1.0, 0.3])
def test_the_closed_form_is_that_of_the_reference_implementation(interval: float) -> None:
    torch.manual_seed(0)
    layer = ClosedFormContinuous(3, 5, backbone=16, interval=interval).double()
    theirs = CfCCell(3, 5, backbone_units=16).double()
    with torch.no_grad():
        theirs.backbone[0].load_state_dict(layer.backbone.state_dict())
        parts = zip(layer.head.weight.chunk(4), layer.head.bias.chunk(4), strict=True)
        for part, (weight, bias) in zip((theirs.ff1, theirs.ff2, theirs.time_a, theirs.time_b), parts, strict=True):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
    x, h = numbers(2, 9, 3), numbers(2, 5, seed=1)
    outputs = layer(x, h)
    for t in range(9):
        _, h = theirs(x[:, t], h, interval)
        torch.testing.assert_close(outputs[:, t], h, rtol=0, atol=1e-12)
    assert sum(each.numel() for each in layer.parameters()) == 16 * (3 + 5 + 1) + 4 * 5 * (16 + 1)


def test_the_closed_form_goes_from_one_state_to_the_other_with_time() -> None:
    torch.manual_seed(0)
    layer = ClosedFormContinuous(3, 5, backbone=16).double()
    with torch.no_grad():
        layer.head.weight[10:15] = 0
        layer.head.bias[10:15] = 1.0
    x, h = numbers(2, 1, 3), numbers(2, 5, seed=1)
    z = 1.7159 * torch.tanh(0.666 * layer.backbone(torch.cat([x[:, 0], h], -1)))
    goal = torch.tanh(layer.head(z)[:, 5:10])
    layer.interval = 1e4
    torch.testing.assert_close(layer(x, h)[:, 0], goal, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layer", [LiquidTimeConstant(3, 5), ClosedFormContinuous(3, 5, backbone=8)])
def test_it_reads_step_by_step(layer: LiquidTimeConstant) -> None:
    reads_step_by_step(layer)
    scans_in_sight(layer)
    assert sees_no_later_step(layer)
    refuses_what_does_not_fit(layer)


def test_it_learns_16_sequences() -> None:
    torch.manual_seed(0)
    learns_16_sequences(LiquidTimeConstant(2, 24, unfolds=2), 24, steps=400)
    learns_16_sequences(ClosedFormContinuous(2, 24, backbone=24), 24)


def test_wrong_arguments_are_named() -> None:
    for layer in (LiquidTimeConstant, ClosedFormContinuous):
        for interval in (0.0, -1.0, float("inf"), float("nan")):
            with pytest.raises(UsageError, match="interval is"):
                layer(2, 2, interval=interval)
    with pytest.raises(UsageError, match="unfolds is 0"):
        LiquidTimeConstant(2, 2, unfolds=0)
    with pytest.raises(UsageError, match="backbone is 0"):
        ClosedFormContinuous(2, 2, backbone=0)
