"""Normalisation of weights: their gradients, the power iteration, and the Lipschitz constant it gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from deepscope.training import spectral_norm, weight_norm


def test_direction_and_length_have_the_papers_gradients() -> None:
    """Of an output: w = g v/‖v‖, ∇_g = ∇_w · v/‖v‖, ∇_v = (g/‖v‖) (∇_w − ∇_g v/‖v‖), orthogonal to v."""
    torch.manual_seed(0)
    layer = weight_norm(nn.Linear(5, 3)).double()
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    with torch.no_grad():
        g.uniform_(0.5, 2)
        v.normal_()
    x, target = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    direction = v / v.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer.weight, g * direction, rtol=0, atol=1e-15)

    plain = (g * direction).detach().requires_grad_()
    (whole,) = torch.autograd.grad((x @ plain.T + layer.bias - target).square().sum(), plain)
    of_g, of_v = torch.autograd.grad((layer(x) - target).square().sum(), (g, v))
    expected = (whole * direction).sum(1, keepdim=True)
    # Sums of some tens of terms of order ten.
    torch.testing.assert_close(of_g, expected, rtol=0, atol=1e-12)
    length = v.norm(dim=1, keepdim=True)
    torch.testing.assert_close(of_v, g / length * (whole - expected * direction), rtol=0, atol=1e-12)
    assert ((of_v * v).sum(1)).abs().amax() < 1e-12
    assert ((whole * v).sum(1)).abs().amax() > 0.1
    # By Pythagoras a step of descent makes v longer, whatever the rate.
    after = v - 0.3 * of_v
    torch.testing.assert_close(
        after.square().sum(1), v.square().sum(1) + 0.09 * of_v.square().sum(1), rtol=1e-13, atol=0
    )


def power_steps(weight: Tensor, u: Tensor, v: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    for _ in range(steps):
        u = weight @ v
        u = u / u.norm()
        v = weight.T @ u
        v = v / v.norm()
    return u, v


def test_each_pass_is_a_step_of_power_iteration() -> None:
    """On a script of weights that change between the passes; evaluation makes no step."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(6, 4).double())
    norm = layer.parametrizations.weight[0]
    u, v = norm._u.clone(), norm._v.clone()
    for step in range(5):
        with torch.no_grad():
            layer.parametrizations.weight.original.add_(torch.randn(4, 6, dtype=torch.float64), alpha=0.3 * step)
        original = layer.parametrizations.weight.original.detach().clone()
        found = layer.weight.detach()
        u, v = power_steps(original, u, v, 1)
        torch.testing.assert_close(norm._u, u, rtol=0, atol=1e-13)
        torch.testing.assert_close(norm._v, v, rtol=0, atol=1e-13)
        torch.testing.assert_close(found, original / (u @ original @ v), rtol=0, atol=1e-13)
    layer.eval()
    assert torch.equal(layer.weight, layer.weight)
    torch.testing.assert_close(norm._u, u, rtol=0, atol=1e-13)


def test_the_largest_singular_value_comes_to_one_from_above() -> None:
    """uᵀ W v ≤ σ₁ for unit vectors: what is divided by it is at least 1, and 1 in the limit."""
    torch.manual_seed(1)
    layer = spectral_norm(nn.Conv2d(3, 8, 3).double())
    norm, original = layer.parametrizations.weight[0], layer.parametrizations.weight.original
    # Torch begins with 15 steps: begin anew, with a second singular value that is near the first.
    left, _, right = torch.linalg.svd(original.detach().flatten(1), full_matrices=False)
    values = torch.tensor([2.0, 1.9, *[1.0] * 6], dtype=torch.float64)
    with torch.no_grad():
        original.copy_((left * values @ right).reshape(8, 3, 3, 3))
        norm._v.copy_(torch.nn.functional.normalize(right.sum(0), dim=0))
    found = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for _ in range(200)]
    assert all(each >= 1 - 1e-14 for each in found)
    assert found[0] > 1 + 1e-3 > found[-1]
    assert all(after <= before + 1e-14 for before, after in pairwise(found))


@pytest.mark.demonstrates("spectral-norm")
def test_layers_and_networks_have_lipschitz_constant_one() -> None:
    """After power iteration σ₁ = 1 ± 1e-3 by SVD for each layer; no pair of 1e5 is mapped further apart."""
    torch.manual_seed(0)
    sizes = (20, 32, 32, 5)
    plain = nn.Sequential()
    for fan_in, width in pairwise(sizes):
        plain.extend([nn.Linear(fan_in, width), nn.ReLU()])
    for each in plain[::2]:
        nn.init.normal_(each.weight, std=0.5)
    near, step = torch.randn(100_000, 20), torch.randn(100_000, 20)
    # Near and far pairs: the gradient's and the chord's length.
    other = near + step * torch.logspace(-2, 1, 100_000)[:, None]

    def ratio(network: nn.Module) -> float:
        with torch.no_grad():
            return ((network(near) - network(other)).norm(dim=1) / (near - other).norm(dim=1)).amax().item()

    # What doing nothing gives.
    assert ratio(plain) > 5
    for each in plain[::2]:
        spectral_norm(each)
    for _ in range(200):
        plain(near[:1])
    plain.eval()
    largest = [torch.linalg.svdvals(each.weight.detach())[0].item() for each in plain[::2]]
    assert all(abs(each - 1) < 1e-3 for each in largest)
    # Rectifiers are 1-Lipschitz; three layers of at most 1.001, and outputs rounded to float32.
    assert 0.05 < ratio(plain) < 1.001**3 + 1e-4


def test_bad_input_is_named() -> None:
    """These are torch's functions, and torch's words."""
    for function in (weight_norm, spectral_norm):
        with pytest.raises(ValueError, match="with name 'weight'"):
            function(nn.ReLU())
    with pytest.raises(ValueError, match="Expected n_power_iterations to be positive"):
        spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
