from __future__ import annotations

import pytest
import torch
from torch import nn

from deepscope.training import lion


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_it_follows_the_recursion_on_a_scripted_sequence(decay: float) -> None:
    gradients = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients[:, 0] = 0.0
    weight = nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64))
    start = weight.tolist()
    optimizer = lion([weight], lr=0.01, betas=(0.8, 0.95), weight_decay=decay)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(weight.grad, gradient)
    expected = []
    for column, x in enumerate(start):
        m = 0.0
        for g in gradients[:, column].tolist():
            c = 0.8 * m + 0.2 * g
            x = (1 - 0.01 * decay) * x - 0.01 * ((c > 0) - (c < 0))
            m = 0.95 * m + 0.05 * g
        expected.append(x)
    # A few roundings of 1e-16 a step.
    assert weight.tolist() == pytest.approx(expected, abs=1e-10)


def course(betas: tuple[float, float], steps: int) -> list[float]:
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = lion([weight], lr=0.01, betas=betas)
    values = [weight.item()]
    for _ in range(steps):
        weight.grad = 7.0 * weight.detach().clone()
        optimizer.step()
        values.append(weight.item())
    return values


def test_on_a_quadratic_it_goes_by_its_rate_a_step_whatever_the_curvature() -> None:
    for betas in ((0.0, 0.0), (0.9, 0.99)):
        values = course(betas, 100)
        # From 1 by 0.01 a step, with 100 roundings of 1e-16.
        assert values[:100] == pytest.approx([1 - 0.01 * step for step in range(100)], abs=1e-12)
    # Without momentum it stays within one step of the minimum; the momentum carries it past.
    assert max(map(abs, course((0.0, 0.0), 300)[100:])) <= 0.01 + 1e-12
    assert max(map(abs, course((0.9, 0.99), 300)[100:])) > 0.1
