"""Linear multi-step residual networks."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import LinearMultistepStack, LMResNet, lm_resnet20, lm_resnet56


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Slope(nn.Module):
    """(1 + k) h g(x) with g(x) = −x + sin x, from a first step that knows nothing of k."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * (-x + torch.sin(2 * x))


def errors(k: float, depths: tuple[int, ...]) -> list[float]:
    """How far the solution of dx/dt = g(x) at 1 is missed by steps of 1 / depth."""
    x = numbers(5)
    exact, slope, h = x, Slope(1.0), 1 / 400
    for _ in range(400):
        # Runge–Kutta of order 4: its own error is about 1e-11.
        a = slope(exact)
        b = slope(exact + h / 2 * a)
        c = slope(exact + h / 2 * b)
        exact = exact + h / 6 * (a + 2 * b + 2 * c + slope(exact + h * c))
    found = []
    for depth in depths:
        stack = LinearMultistepStack([Slope(1 / depth), *(Slope((1 + k) / depth) for _ in range(depth - 1))])
        with torch.no_grad():
            stack.k.fill_(k)
            found.append((stack(x) - exact).norm().item())
    return found


@pytest.mark.parametrize(("k", "order"), [(0.0, 1), (-0.5, 1), (0.5, 1), (1.0, 2)])
def test_it_solves_an_equation_at_the_order_that_k_sets(k: float, order: int) -> None:
    first, second, third = errors(k, (100, 200, 400))
    # An error C hᵖ (1 + O(h)).
    assert abs(math.log2(first / second) - order) < 0.15
    assert abs(math.log2(second / third) - order) < 0.15


def test_its_error_has_the_factor_that_the_docstring_gives() -> None:
    (residual,), (looking_back,) = errors(0.0, (400,)), errors(0.5, (400,))
    # (1 − k)/(1 + k) is 1 and 1/3; what is of higher order in h = 1/400 is of relative size h.
    assert abs(3 * looking_back / residual - 1) < 0.03


def test_without_k_it_is_a_residual_network() -> None:
    torch.manual_seed(0)
    stack, x = LinearMultistepStack(nn.Linear(3, 3) for _ in range(5)).double(), numbers(4, 3)
    h = x
    for branch in stack.branches:
        h = h + branch(h)
    assert not torch.allclose(stack(x), h)
    nn.init.zeros_(stack.k)
    torch.testing.assert_close(stack(x), h, rtol=0, atol=1e-14)


def test_it_computes_its_formula() -> None:
    torch.manual_seed(0)
    stack, x = LinearMultistepStack(nn.Linear(3, 3) for _ in range(4)).double(), numbers(4, 3)
    assert ((stack.k > -0.1) & (stack.k < 0)).all()
    path = [x, x + stack.branches[0](x)]
    for n in (1, 2, 3):
        k = stack.k[n - 1]
        path.append((1 - k) * path[n] + k * path[n - 1] + stack.branches[n](path[n]))
    torch.testing.assert_close(stack(x), path[-1], rtol=0, atol=1e-14)


def small(**arguments: object) -> LMResNet:
    torch.manual_seed(0)
    return LMResNet(**{"blocks": (2, 3), "channels": (8, 12), "classes": 4, **arguments})


def test_a_network_is_its_parts() -> None:
    model, x = small().double().eval(), numbers(2, 3, 6, 6)
    stage1, stage2 = model.stages.stage1.steps, model.stages.stage2.steps
    assert (len(stage1.k), len(stage2.k)) == (1, 1)
    h = model.stem(x)
    before, h = h, h + stage1.branches[0](h)
    h = (1 - stage1.k[0]) * h + stage1.k[0] * before + stage1.branches[1](h)
    h = model.stages.stage2.reduction(h)
    before, h = h, h + stage2.branches[0](h)
    h = (1 - stage2.k[0]) * h + stage2.k[0] * before + stage2.branches[1](h)
    expected = model.output(model.normalisation(h).relu().mean((2, 3)))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


def test_parameters_are_those_of_a_residual_network_and_one_for_each_look_back() -> None:
    with torch.device("meta"):
        for model, n, depth in ((lm_resnet20(), 3, 20), (lm_resnet56(), 9, 56)):
            count = sum(each.numel() for each in model.parameters())
            # The count of the residual network with padded shortcuts, and of its layers.
            assert count == 97_216 * n - 21_926 + 3 * n - 5
            assert sum(isinstance(each, nn.Conv2d | nn.Linear) for each in model.modules()) == depth


def test_overfit() -> None:
    overfits(small(), torch.randn(16, 3, 6, 6), torch.arange(16) % 4, functional.cross_entropy, steps=100)


def test_it_behaves() -> None:
    behaves(small(), small(), torch.randn(3, 3, 6, 6))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="there are no branches: LinearMultistepStack"):
        LinearMultistepStack([])
    with pytest.raises(UsageError, match=r"branch 1 maps \[2, 3\] to \[2, 1\]"):
        LinearMultistepStack([nn.Linear(3, 3), nn.Linear(3, 1)])(torch.zeros(2, 3))
    with pytest.raises(UsageError, match="a number of blocks behind that which halves the size is 0"):
        small(blocks=(1, 1))
    for wrong in ({"blocks": (0, 2)}, {"classes": 0}, {"in_channels": 0}, {"channels": (8, 0)}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match="channels go from 8 to 6"):
        small(channels=(8, 6))
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)):
        with pytest.raises(UsageError, match=r"LMResNet\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
