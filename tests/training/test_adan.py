from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from deepscope.training import adan


def scripted(steps: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    gradients = torch.randn(steps, size, generator=generator, dtype=torch.float64)
    gradients[5] = 0.0
    return gradients


def twin(start: list[float], gradients: Tensor, betas: tuple[float, float, float], decay: float) -> list[float]:
    """The recursion, number by number."""
    lr, (b1, b2, b3) = 0.03, betas
    ends = []
    for column, x in enumerate(start):
        m = v = n = 0.0
        before = None
        for t, g in enumerate(gradients[:, column].tolist(), start=1):
            d = g - (g if before is None else before)
            m, v, n = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * d, b3 * n + (1 - b3) * (g + b2 * d) ** 2
            direction = m / (1 - b1**t) + b2 * v / (1 - b2**t)
            x = (x - lr * direction / (math.sqrt(n / (1 - b3**t)) + 1e-8)) / (1 + lr * decay)
            before = g
        ends.append(x)
    return ends


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_follows_the_recursion_on_a_scripted_sequence(decay: float) -> None:
    weight = nn.Parameter(torch.linspace(-2, 2, 7, dtype=torch.float64))
    start, gradients = weight.tolist(), scripted(40, 7)
    optimizer = adan([weight], lr=0.03, weight_decay=decay)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        # What a callback reads after the step is still the gradient.
        assert torch.equal(weight.grad, gradient)
    betas = (0.98, 0.92, 0.99)
    # Some 20 roundings of 1e-16 a step, of numbers of order 1: below 1e-13 after 40.
    assert weight.tolist() == pytest.approx(twin(start, gradients, betas, decay), abs=1e-10)
    assert weight.tolist() != pytest.approx(twin(start, gradients, (0.9, *betas[1:]), decay), abs=1e-4)


def test_on_a_quadratic_it_contracts_as_its_linear_recursion_says() -> None:
    b1, b2, rate, curvature = 0.9, 0.8, 0.02, 1.0
    # With an ε far above the gradients the scaling is 1/ε, and what is left is linear in (θ, θ before, m, v).
    eps = 1e12
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = adan([weight], lr=rate * eps, betas=(b1, b2, 0.9), eps=eps)
    values = []
    for _ in range(400):
        weight.grad = curvature * weight.detach().clone()
        optimizer.step()
        values.append(weight.item())
    m = torch.tensor([(1 - b1) * curvature, 0.0, b1, 0.0], dtype=torch.float64)
    v = torch.tensor([(1 - b2) * curvature, -(1 - b2) * curvature, 0.0, b2], dtype=torch.float64)
    theta = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    matrix = torch.stack([theta - rate * (m + b2 * v), theta, m, v])
    radius = torch.linalg.eigvals(matrix).abs().max().item()
    # The bias corrections are gone by 0.9^300 = 2e-14, and the next eigenvalue's part by as much.
    assert values[-1] / values[-2] == pytest.approx(radius, rel=1e-8)
    assert radius < 1
