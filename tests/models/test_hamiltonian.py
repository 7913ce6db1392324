"""Hamiltonian networks: steps of a symplectic method."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits
from saved_bytes import saved_bytes
from torch import Tensor
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import HamiltonianBranch, HamiltonianCNN, HamiltonianStack


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def flow(width: int = 6, depth: int = 1, **arguments: object) -> HamiltonianStack:
    torch.manual_seed(0)
    return HamiltonianStack(width, depth, shared=True, **arguments).double()


def energy(model: HamiltonianStack, x: Tensor) -> Tensor:
    """H = 1ᵀ ln cosh(K₁ Z + b₁) + 1ᵀ ln cosh(K₂ Y + b₂)."""
    y, z = x.chunk(2, 1)
    first, second = model.branches[:2]
    return first.map(z).cosh().log().sum(1) + second.map(y).cosh().log().sum(1)


@torch.no_grad()
def drift(model: HamiltonianStack, x: Tensor, steps: int, *, euler: bool = False) -> Tensor:
    """Differences of the energy from that at the start, after each tenth of the steps and between, [steps / 10]."""
    start, found = energy(model, x), []
    for count in range(1, steps + 1):
        if euler:
            # Planted: both halves are changed at once.
            y, z = x.chunk(2, 1)
            x = torch.cat([y + model.branches[0](z), z + model.branches[1](y)], 1)
        else:
            x = model(x)
        if count % 10 == 0:
            found.append((energy(model, x) - start).abs().max())
    return torch.stack(found)


@pytest.mark.demonstrates("hamiltonian-resnet")
def test_200_layers_are_computed_back_keep_energy_and_need_little_memory() -> None:
    torch.manual_seed(0)
    model, x = HamiltonianStack(32, 200), torch.randn(16, 32)
    y = model(x)
    assert (model.inverse(y) - x).abs().max() < 1e-5
    assert (y - x).abs().max() > 1
    kept = []
    for depth in (20, 200):
        stack = HamiltonianStack(32, depth)
        weights = sum(each.nbytes for each in stack.parameters())
        kept.append(saved_bytes(lambda stack=stack: stack(x)) - weights)
    assert kept[0] == kept[1] == x.nbytes
    exact = flow(recompute=False)
    errors = drift(exact, numbers(4, 6), 10_000)
    # The drift of a symplectic method does not grow with time: what it reached at first it does not exceed by much.
    assert errors.max() < 1.5 * errors[:100].max()
    assert errors.max() < 0.05 * energy(exact, numbers(4, 6)).max()
    growing = drift(exact, numbers(4, 6), 2_000, euler=True)
    assert growing[-1] > 10 * errors.max()
    assert growing[-1] > 2 * growing[19]


def test_drift_falls_with_the_step() -> None:
    x = numbers(4, 6)
    errors = [drift(flow(step=step, recompute=False), x, round(20 / step)).max() for step in (0.1, 0.05)]
    # Of first order: an error C h (1 + O(h)).
    assert abs(errors[0] / errors[1] - 2) < 0.2


def test_it_can_be_computed_back_in_double_precision() -> None:
    model, x = flow(depth=500), numbers(4, 6)
    torch.testing.assert_close(model.inverse(model(x)), x, rtol=0, atol=1e-10)


def test_its_jacobian_is_symplectic() -> None:
    model, x = flow(depth=5), numbers(6)
    model.branches[0].map.bias.data += 0.5
    identity, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    form = torch.cat([torch.cat([zero, identity], 1), torch.cat([-identity, zero], 1)])
    jacobian = torch.autograd.functional.jacobian(lambda each: model(each[None])[0], x)
    torch.testing.assert_close(jacobian.T @ form @ jacobian, form, rtol=0, atol=1e-13)

    def euler(each: Tensor) -> Tensor:
        y, z = each[None].chunk(2, 1)
        return torch.cat([y + model.branches[0](z), z + model.branches[1](y)], 1)[0]

    planted = torch.autograd.functional.jacobian(euler, x)
    assert (planted.T @ form @ planted - form).abs().max() > 1e-4


def test_the_equations_neither_explode_nor_vanish() -> None:
    """Where both maps are K, eigenvalues of the Jacobian of (K ᵀσ(K Z), −Kᵀσ(K Y)) lie on the imaginary axis."""
    torch.manual_seed(0)
    model = HamiltonianStack(6, 1, step=1.0, recompute=False).double()
    model.branches[1].map = model.branches[0].map

    def slope(each: Tensor) -> Tensor:
        y, z = each[None].chunk(2, 1)
        return torch.cat([model.branches[0](z), model.branches[1](y)], 1)[0]

    eigenvalues = torch.linalg.eigvals(torch.autograd.functional.jacobian(slope, numbers(6)))
    # Backward stable to about n ε, with square roots where eigenvalues meet.
    assert eigenvalues.real.abs().max() < 1e-7
    assert eigenvalues.imag.abs().max() > 1e-3


@pytest.mark.parametrize("convolutional", [False, True])
def test_it_computes_its_formula(convolutional: bool) -> None:
    torch.manual_seed(0)
    model = HamiltonianStack(4, 2, step=0.3, activation="sigmoid", convolutional=convolutional).double()
    x = numbers(3, 4, 5, 6) if convolutional else numbers(3, 4)
    w = dict(model.named_parameters())
    y, z = x.chunk(2, 1)

    def gradient(h: Tensor, index: int) -> Tensor:
        weight, bias = w[f"branches.{index}.map.weight"], w[f"branches.{index}.map.bias"]
        if not convolutional:
            return torch.sigmoid(h @ weight.T + bias) @ weight
        inner = torch.sigmoid(functional.conv2d(h, weight, bias, padding=1))
        # The adjoint of a convolution is one with the kernel turned about, from outputs to inputs.
        return functional.conv2d(inner, weight.transpose(0, 1).flip(2, 3), padding=1)

    for j in range(2):
        y = y + 0.3 * gradient(z, 2 * j)
        z = z - 0.3 * gradient(y, 2 * j + 1)
    torch.testing.assert_close(model(x), torch.cat([y, z], 1), rtol=0, atol=1e-13)


def test_a_branch_is_the_gradient_of_an_energy() -> None:
    torch.manual_seed(0)
    for branch, z in (
        (HamiltonianBranch(4, 0.7), numbers(2, 4)),
        (HamiltonianBranch(3, 0.7, convolutional=True), numbers(2, 3, 4, 5)),
    ):
        branch.double()
        z.requires_grad_()
        (expected,) = torch.autograd.grad(branch.map(z).cosh().log().sum(), z)
        torch.testing.assert_close(branch(z), 0.7 * expected, rtol=0, atol=1e-13)


def small(**arguments: object) -> HamiltonianCNN:
    torch.manual_seed(0)
    return HamiltonianCNN(**{"blocks": (2, 1), "channels": (8, 12), "classes": 4, **arguments})


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_is_its_parts(activation: str) -> None:
    model, x = small(activation=activation, step=0.3).double(), numbers(3, 3, 6, 8)
    w = dict(model.named_parameters())
    h = functional.conv2d(x, w["stem.convolution.weight"], padding=1)
    normalisation = w["stem.normalisation.weight"], w["stem.normalisation.bias"]
    h = functional.batch_norm(h, None, None, *normalisation, training=True)
    for stage, (width, depth) in ((1, (8, 2)), (2, (12, 1))):
        if stage == 2:
            h = functional.pad(functional.avg_pool2d(h, 2), (0, 0, 0, 0, 0, 4))
        given = HamiltonianStack(width, depth, step=0.3, activation=activation, convolutional=True).double()
        given.load_state_dict(model.stages.get_submodule(f"stage{stage}").state_dict())
        h = given(h)
    expected = h.mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_shared_steps_have_one_set_of_weights() -> None:
    assert sum(each.numel() for each in HamiltonianStack(6, 50, shared=True).parameters()) == 6**2 // 2 + 6
    assert sum(each.numel() for each in HamiltonianStack(6, 50).parameters()) == 50 * (6**2 // 2 + 6)


def test_overfit() -> None:
    torch.manual_seed(0)
    x, targets = torch.randn(16, 3, 6, 6), torch.arange(16) % 4
    overfits(small(step=0.5), x, targets, functional.cross_entropy, steps=300, rate=2e-2, below=3e-2)


def test_it_behaves() -> None:
    behaves(small(), small(), torch.randn(3, 3, 6, 6))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="width is 5"):
        HamiltonianStack(5, 2)
    with pytest.raises(UsageError, match="depth is 0"):
        HamiltonianStack(6, 0)
    for wrong in (0, -0.1, math.inf, math.nan):
        with pytest.raises(UsageError, match=f"step is {wrong}"):
            HamiltonianStack(6, 2, step=wrong)
    with pytest.raises(UsageError, match="unknown activation: sinus"):
        HamiltonianStack(6, 2, activation="sinus")
    with pytest.raises(UsageError, match="channels go from 8 to 6"):
        small(channels=(8, 6))
    for wrong in ({"blocks": (0, 1)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 7, 8)):
        with pytest.raises(UsageError, match=r"HamiltonianCNN\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
