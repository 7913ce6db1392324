"""Residual networks with antisymmetric weights: stable where free weights are not."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import AntisymmetricLayer, AntisymmetricResNet


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def layer(seed: int = 0, width: int = 16, **arguments: object) -> AntisymmetricLayer:
    torch.manual_seed(seed)
    return AntisymmetricLayer(width, **arguments).double()


@torch.no_grad()
def growth(generator: Tensor, step: float, x: Tensor, time: float = 100.0) -> float:
    """The largest ratio of norms, of a sample at any layer and at the start."""
    y, largest = x, 0.0
    for _ in range(round(time / step)):
        y = y + step * torch.tanh(y @ generator.T)
        largest = max(largest, (y.norm(dim=1) / x.norm(dim=1)).max().item())
    return largest


@pytest.mark.demonstrates("antisymmetric-resnet")
@pytest.mark.parametrize("seed", range(2))
def test_signals_stay_where_those_of_free_weights_explode(seed: int) -> None:
    """Over a time of 100 norms grow by at most 2, by 100 or more with K itself, by more than 2 without diffusion."""
    step, x = 0.02, 0.1 * numbers(8, 16)
    free = layer(seed).weight.detach() / 2
    frequency = torch.linalg.eigvals(layer(seed, diffusion=0.0).generator()).imag.abs().max().item()
    # As the docstring derives it: then no eigenvalue λ of Euler's step has |λ|² above 1 + (h ω)⁴/4, for a time of 100
    # e^0.003 at most.
    diffusion = step * frequency**2
    assert diffusion < 0.1
    assert growth(layer(seed, diffusion=diffusion).generator(), step, x) <= 2
    assert growth(layer(seed, diffusion=0.0).generator(), step, x) > 2
    assert growth(free, step, x) >= 100
    # The network takes these steps.
    model = AntisymmetricResNet(16, 3, width=16, depth=5, step=step, diffusion=diffusion).double()
    with torch.no_grad():
        for each in model.layers:
            each.weight.copy_(layer(seed).weight)
        y = model.layers(x)
    assert ((y.norm(dim=1) / x.norm(dim=1)) <= growth(model.layers[0].generator(), step, x, 5 * step)).all()


@pytest.mark.parametrize(("activation", "steepest"), [("tanh", 1.0), ("sigmoid", 0.25), ("relu", 1.0)])
@pytest.mark.parametrize("diffusion", [0.0, 0.3])
def test_eigenvalues_of_the_jacobian_do_not_amplify(activation: str, steepest: float, diffusion: float) -> None:
    for seed in range(5):
        each = layer(seed, diffusion=diffusion, activation=activation, step=1.0)
        each.bias.data.normal_()
        jacobian = torch.autograd.functional.jacobian(lambda y, e=each: e(y[None])[0] - y, numbers(16))
        real = torch.linalg.eigvals(jacobian).real
        # ReLU's zeros make the Jacobian defective; rounding moves multiple eigenvalues 0 by roots of it.
        rounding = 1e-6
        assert real.max() <= rounding
        assert real.min() >= -diffusion * steepest / 2 - rounding
        planted = torch.autograd.functional.jacobian(lambda y, e=each: e.activation(e.weight @ y + e.bias), numbers(16))
        assert torch.linalg.eigvals(planted).real.max() > 0.01


def test_without_steps_the_equation_keeps_an_energy() -> None:
    """With σ = tanh, γ = 0 and b = 0 the sum of ln cosh(A y) is constant, as tanh(A y)ᵀ A tanh(A y) = 0."""
    changes = []
    for step in (0.02, 0.01):
        each, y = layer(diffusion=0.0, step=step), numbers(4, 16)
        start = (y @ each.generator().T).cosh().log().sum(1)
        with torch.no_grad():
            for _ in range(round(1 / step)):
                y = each(y)
        changes.append(((y @ each.generator().T).cosh().log().sum(1) - start).abs().max().item())
    # Euler's method is of first order: half the step, half the change.
    assert abs(math.log2(changes[0] / changes[1]) - 1) < 0.1
    assert changes[1] < 0.1


def test_it_computes_its_formula() -> None:
    torch.manual_seed(0)
    model, x = AntisymmetricResNet(5, 3, width=4, depth=3, step=0.2, diffusion=0.3).double(), numbers(6, 5)
    w = dict(model.named_parameters())
    y = x @ w["input.weight"].T + w["input.bias"]
    for i in (1, 2, 3):
        K = w[f"layers.layer{i}.weight"]
        y = y + 0.2 * torch.tanh(
            y @ (K - K.T - 0.3 * torch.eye(4, dtype=torch.float64)).T / 2 + w[f"layers.layer{i}.bias"]
        )
    torch.testing.assert_close(model(x), y @ w["output.weight"].T + w["output.bias"], rtol=0, atol=1e-13)
    assert sum(each.numel() for each in model.parameters()) == 4 * (5 + 1) + 3 * (4 * 4 + 4) + 3 * (4 + 1)


def test_settings_reach_the_layers_and_weights_begin_with_frequencies_up_to_two() -> None:
    model = AntisymmetricResNet(5, 3, width=4, depth=2, step=0.2, diffusion=0.3, activation="sigmoid")
    for each in model.layers:
        assert (each.step, each.diffusion, type(each.activation)) == (0.2, 0.3, nn.Sigmoid)
    frequencies = torch.linalg.eigvals(layer(width=400, diffusion=0.0).generator()).imag.abs()
    # The semicircle's edge, to within a few N^(−2/3).
    assert abs(frequencies.max().item() - 2) < 0.1


def test_overfit() -> None:
    torch.manual_seed(0)
    model = AntisymmetricResNet(5, 4, width=16, depth=4, step=0.5)
    overfits(model, torch.randn(16, 5), torch.arange(16) % 4, functional.cross_entropy, steps=200, rate=2e-2)


def test_it_behaves() -> None:
    torch.manual_seed(0)
    behaves(*(AntisymmetricResNet(5, 3, width=4, depth=3) for _ in "ab"), torch.randn(3, 5))


def test_wrong_arguments_are_refused() -> None:
    for wrong in ({"step": 0}, {"step": -1}, {"step": math.inf}, {"diffusion": -0.1}, {"diffusion": math.nan}):
        with pytest.raises(UsageError, match=r"step is .*, and diffusion .*: AntisymmetricLayer"):
            layer(**wrong)
    with pytest.raises(UsageError, match="unknown activation: tan"):
        layer(activation="tan")
    for wrong in ({"width": 0}, {"depth": 0}, {"in_features": 0}, {"out_features": 0}):
        with pytest.raises(UsageError, match="is 0"):
            AntisymmetricResNet(**wrong)
    for x in (torch.zeros(2, 4), torch.zeros(5), torch.zeros(2, 5, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"AntisymmetricResNet\nGive \[batch, 5\]"):
            AntisymmetricResNet(5)(x)
        with pytest.raises(UsageError, match=r"AntisymmetricLayer\nGive \[batch, 5\]"):
            AntisymmetricLayer(5)(x)
