"""Parabolic networks bring inputs closer; hyperbolic ones conserve an energy."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import HyperbolicStack, ParabolicStack, PDENet, SymmetricLayer


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def matrix(layer: SymmetricLayer, channels: int, side: int) -> Tensor:
    """K as a matrix."""
    basis = torch.eye(channels * side**2, dtype=torch.float64).reshape(-1, channels, side, side)
    return layer.convolution(basis).detach().flatten(1).T


def distance(x: Tensor) -> Tensor:
    return (x[0] - x[1]).norm()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_parabolic_layers_bring_inputs_closer(activation: str) -> None:
    torch.manual_seed(0)
    for factor in (1.0, 3.0):
        stack = ParabolicStack(2, 20, activation=activation).double()
        with torch.no_grad():
            for each in stack.layers:
                each.convolution.weight *= factor
        stack.step = 2 / max(torch.linalg.matrix_norm(matrix(each, 2, 4), 2) ** 2 for each in stack.layers).item()
        y = numbers(2, 2, 4, 4)
        start = distance(y)
        for each in stack.layers:
            following = y + stack.step * each(y)
            # A sum of 32 numbers of order 1 in the norm.
            assert distance(following) <= distance(y) + 1e-14
            y = following
        assert torch.equal(y, stack(numbers(2, 2, 4, 4)))
        assert distance(y) < 0.9 * start
        # Planted: a plain residual layer with the same kernels does not; nor do longer steps.
        y = numbers(2, 2, 4, 4)
        for each in stack.layers:
            inner = each.activation(each.convolution(y))
            y = y + stack.step * functional.conv2d(inner, each.convolution.weight, padding=1)
        assert distance(y) > start
    if activation == "tanh":
        stack.step, near = 3 * stack.step, 1e-3 * numbers(2, 2, 4, 4)
        assert distance(stack(near)) > distance(near)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_the_jacobian_is_symmetric_and_has_no_positive_eigenvalue(activation: str) -> None:
    torch.manual_seed(0)
    layer, y = SymmetricLayer(2, activation=activation).double(), numbers(2, 3, 4)
    jacobian = torch.autograd.functional.jacobian(lambda each: layer(each[None])[0], y).reshape(24, 24)
    torch.testing.assert_close(jacobian, jacobian.T, rtol=0, atol=1e-14)
    assert torch.linalg.eigvalsh(jacobian).max() < 1e-14
    # Planted: a convolution of its own in the place of the transpose.
    other = nn.Conv2d(2, 2, 3, padding=1, bias=False).double()
    planted = torch.autograd.functional.jacobian(lambda each: -other(layer.activation(layer.convolution(each))), y)
    assert (planted.reshape(24, 24) - planted.reshape(24, 24).T).abs().max() > 0.01


def energies(step: float, time: float) -> Tensor:
    """Differences of ½ |dy/dt|² + Σ ln cosh(K y) from that at the start, at all layers."""
    torch.manual_seed(0)
    stack, y = HyperbolicStack(2, 1, activation="tanh", step=step).double(), numbers(1, 2, 4, 4)
    before, found = y, []
    with torch.no_grad():
        for _ in range(round(time / step)):
            after = stack.leap(before, y, stack.layers[0])
            speed = (after - before) / (2 * step)
            found.append(speed.square().sum() / 2 + stack.layers[0].convolution(y).cosh().log().sum())
            before, y = y, after
    return (torch.stack(found) - found[0]).abs()


def test_hyperbolic_layers_conserve_energy() -> None:
    """For 3,000 layers the error does not grow, and it is of the second order in the step."""
    drift = energies(0.2, 600)
    assert drift.max() < 1.3 * drift[:600].max()
    finer = energies(0.1, 60)
    assert abs(math.log2(drift[:300].max() / finer.max()) - 2) < 0.2


def test_hyperbolic_layers_are_computed_back() -> None:
    torch.manual_seed(0)
    stack, y = HyperbolicStack(2, 30).double(), numbers(3, 2, 4, 4)
    before, after, path = y, y, [y]
    for layer in stack.layers:
        before, after = after, stack.leap(before, after, layer)
        path.append(after)
    assert torch.equal(after, stack(y))
    for layer in reversed(stack.layers):
        after, before = before, stack.leap(after, before, layer)
    torch.testing.assert_close(before, y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("hyperbolic", [False, True])
def test_it_computes_its_formula(hyperbolic: bool) -> None:
    torch.manual_seed(0)
    model, x = small(hyperbolic=hyperbolic, step=0.3).double(), numbers(3, 3, 6, 8)
    w = dict(model.named_parameters())

    def opened(h: Tensor, name: str) -> Tensor:
        kernel, norm = w[f"{name}.convolution.weight"], f"{name}.normalisation"
        h = functional.conv2d(h, kernel, padding=kernel.shape[-1] // 2)
        return functional.batch_norm(h, None, None, w[f"{norm}.weight"], w[f"{norm}.bias"], training=True).relu()

    y = opened(x, "stem")
    for stage, depth in ((1, 2), (2, 1)):
        if stage == 2:
            y = functional.avg_pool2d(opened(y, "stages.connection2"), 2)
        before = y
        for j in range(depth):
            name = f"stages.stage{stage}.layers.{j}"
            kernel, norm = w[f"{name}.convolution.weight"], f"{name}.normalisation"
            inner = functional.conv2d(y, kernel, padding=1)
            inner = functional.instance_norm(inner, weight=w[f"{norm}.weight"], bias=w[f"{norm}.bias"]).relu()
            # The transpose of a convolution is one with the kernel turned about, from outputs to inputs.
            slope = -functional.conv2d(inner, kernel.transpose(0, 1).flip(2, 3), padding=1)
            before, y = y, 2 * y - before + 0.09 * slope if hyperbolic else y + 0.3 * slope
    expected = y.mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def small(**arguments: object) -> PDENet:
    torch.manual_seed(0)
    return PDENet(**{"blocks": (2, 1), "channels": (8, 12), "classes": 4, **arguments})


@pytest.mark.parametrize("hyperbolic", [False, True])
def test_overfit(hyperbolic: bool) -> None:
    model = small(hyperbolic=hyperbolic)
    overfits(model, torch.randn(16, 3, 6, 6), torch.arange(16) % 4, functional.cross_entropy, steps=300, rate=3e-2)


@pytest.mark.parametrize("hyperbolic", [False, True])
def test_it_behaves(hyperbolic: bool) -> None:
    behaves(small(hyperbolic=hyperbolic), small(hyperbolic=hyperbolic), torch.randn(3, 3, 6, 6))


def test_wrong_arguments_are_refused() -> None:
    for wrong in (0, -0.1, math.inf, math.nan):
        with pytest.raises(UsageError, match="step is"):
            small(step=wrong)
    with pytest.raises(UsageError, match="unknown activation: rlu"):
        small(activation="rlu")
    for wrong in ({"blocks": (0, 1)}, {"channels": (8, 0)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match="1 numbers of blocks and 2 numbers of channels"):
        small(blocks=(1,))
    # Below 4 pixels a side instances of the second stage would have one pixel, which is no deviation.
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 7, 8), (2, 3, 2, 2)):
        with pytest.raises(UsageError, match=r"PDENet\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
    for stack in (ParabolicStack(4, 2), HyperbolicStack(4, 2)):
        with pytest.raises(UsageError, match=r"Stack\nGive \[batch, 4, height, width\]"):
            stack(torch.zeros(2, 3, 6, 6))
