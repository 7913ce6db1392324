"""MgNet: with the weights of multigrid it is multigrid."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import MgCycle, MgNet, poisson_cycle


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def laplacian(n: int) -> Tensor:
    """The matrix of h² times −Δ at the n² inner points, by Kronecker's sum."""
    line = 2 * torch.eye(n) - torch.diag(torch.ones(n - 1), 1) - torch.diag(torch.ones(n - 1), -1)
    identity = torch.eye(n)
    return (torch.kron(line, identity) + torch.kron(identity, line)).double()


def prolongation(n: int) -> Tensor:
    """The matrix of bilinear interpolation to n² points from those of which every second row and column is left."""
    m = (n - 1) // 2
    line = torch.zeros(n, m)
    for j in range(m):
        line[2 * j : 2 * j + 3, j] = torch.tensor([0.5, 1.0, 0.5])
    return torch.kron(line, line).double()


def v_cycle(u: Tensor, f: Tensor, n: int, grids: int, factors: list[float]) -> Tensor:
    """The naive twin: matrices and vectors, and the correction of the error that recursion finds."""
    A = laplacian(n)
    for factor in factors:
        u = u + factor * (f - A @ u) / 4
    if grids > 1:
        P = prolongation(n)
        error = v_cycle(torch.zeros(P.shape[1], dtype=u.dtype), P.T @ (f - A @ u), (n - 1) // 2, grids - 1, factors)
        u = u + P @ error
        for factor in reversed(factors):
            u = u + factor * (f - A @ u) / 4
    return u


@pytest.mark.parametrize("grids", [1, 2, 4])
def test_with_weights_of_multigrid_it_is_a_v_cycle(grids: int) -> None:
    cycle = poisson_cycle(grids).double()
    # One over the zeros of the Chebyshev polynomial of degree 2 on [½, 2].
    factors = [1 / (1.25 + 0.75 * math.cos(math.pi * (2 * i + 1) / 4)) for i in range(2)]
    f, u = numbers(1, 1, 15, 15), numbers(1, 1, 15, 15).flip(-1)
    expected = v_cycle(u.flatten(), f.flatten(), 15, grids, factors).reshape(f.shape)
    # The weights were rounded to float32, and the twin's were not.
    torch.testing.assert_close(cycle(f, u), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        for level in cycle.smoothing:
            for step, factor in zip(level, factors, strict=True):
                step.smoother.weight[0, 0, 1, 1] = factor / 4
        torch.testing.assert_close(cycle(f, u), expected, rtol=0, atol=1e-12)
        # Full approximation: of a linear problem whatever Π takes down comes back out.
        for each in cycle.interpolations:
            each.weight.copy_(torch.rand_like(each.weight))
        torch.testing.assert_close(cycle(f, u), expected, rtol=0, atol=1e-11)
        # Planted: another restriction is no V-cycle.
        if grids > 1:
            cycle.restrictions[0].weight *= 1.1
            assert (cycle(f, u) - expected).abs().max() > 1e-3


def test_its_error_falls_by_a_factor_that_no_mesh_changes() -> None:
    factors = []
    for grids in (3, 4, 5, 6):
        cycle, n = poisson_cycle(grids).double(), 2**grids - 1
        f, u = numbers(1, 1, n, n), torch.zeros(1, 1, n, n, dtype=torch.float64)
        residuals = [f.norm()]
        with torch.no_grad():
            for _ in range(8):
                u = cycle(f, u)
                residuals.append((f - cycle.operators[0](u)).norm())
        assert all(after < 0.2 * before for before, after in pairwise(residuals))
        factors.append((residuals[-1] / residuals[-2]).item())
    # A square of 7² points and one of 63² have all but the same factor.
    assert max(factors) < 0.16
    assert factors[-1] / factors[-2] < 1.1
    # Planted: smoothing alone slows down with the mesh, and comes to nothing.
    alone = poisson_cycle(1).double()
    f, u = numbers(1, 1, 63, 63), torch.zeros(1, 1, 63, 63, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(20):
            before, u = (f - alone.operators[0](u)).norm(), alone(f, u)
    assert (f - alone.operators[0](u)).norm() > 0.9 * before


def test_it_solves_poissons_equation() -> None:
    """−Δu = 2π² sin πx sin πy has u = sin πx sin πy; the stencil's error is π² h²/12 of it, to higher orders."""
    n = 31
    h = 1 / (n + 1)
    line = torch.sin(math.pi * h * torch.arange(1, n + 1, dtype=torch.float64))
    exact = (line[:, None] * line)[None, None]
    cycle, u = poisson_cycle(5).double(), torch.zeros_like(exact)
    with torch.no_grad():
        for _ in range(15):
            u = cycle(2 * math.pi**2 * h**2 * exact, u)
    error = (u - exact).abs().max().item()
    assert abs(error / (math.pi**2 * h**2 / 12) - 1) < 0.02


def test_it_computes_its_formula() -> None:
    """The twin follows the paper's algorithm with torch's functions, in training mode."""
    torch.manual_seed(0)
    model, x = small().double(), numbers(5, 3, 6, 7)
    w = dict(model.named_parameters())

    def norm(h: Tensor, name: str) -> Tensor:
        return functional.batch_norm(h, None, None, w[f"{name}.weight"], w[f"{name}.bias"], training=True)

    def convolved(h: Tensor, name: str, stride: int = 1) -> Tensor:
        return functional.conv2d(h, w[f"{name}.weight"], stride=stride, padding=1)

    f = norm(convolved(x, "data.convolution"), "data.normalisation").relu()
    u = torch.zeros_like(f)
    for level, steps in ((0, 2), (1, 1)):
        A = f"cycle.operators.{level}"
        if level:
            restricted = convolved(f - convolved(u, "cycle.operators.0"), "cycle.restrictions.0", 2)
            u = norm(convolved(u, "cycle.interpolations.0", 2), "cycle.feature_normalisations.0")
            f = norm(restricted, "cycle.data_normalisations.0") + convolved(u, A)
        for i in range(steps):
            step = f"cycle.smoothing.{level}.{i}"
            residual = norm(f - convolved(u, A), f"{step}.residual_normalisation").relu()
            u = u + norm(convolved(residual, f"{step}.smoother"), f"{step}.normalisation").relu()
    expected = u.mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)
    kernels = sum(each.weight.numel() for each in model.modules() if isinstance(each, nn.Conv2d))
    # 9 c² for A and for each step on each grid, R and Π between them, and θ.
    assert kernels == 9 * (8**2 * 3 + 12**2 * 2 + 2 * 8 * 12 + 3 * 8)


def test_a_cycle_of_images_comes_back_to_their_size() -> None:
    torch.manual_seed(0)
    cycle = MgCycle([2, 3, 4], [1, 1, 1], upward=True).double()
    for sides in ((8, 8), (7, 10), (5, 6)):
        assert cycle(numbers(2, 2, *sides)).shape == (2, 2, *sides)


@pytest.mark.parametrize("sides", [(6, 7), (5, 8)])
def test_a_cycle_of_images_comes_back_by_its_formula(sides: tuple[int, int]) -> None:
    """The twin goes up by the derivative of the restriction, which is its transpose."""
    torch.manual_seed(0)
    cycle, f = MgCycle([3, 4], [2, 1], upward=True).double().eval(), numbers(2, 3, *sides)
    for each in cycle.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.weight)
            nn.init.normal_(each.bias)
    A, fine = cycle.operators[0], cycle.smoothing[0]
    u = torch.zeros_like(f)
    for step in fine:
        u = step(u, f, A)
    begun = cycle.feature_normalisations[0](cycle.interpolations[0](u))
    coarse_f = cycle.data_normalisations[0](cycle.restrictions[0](f - A(u))) + cycle.operators[1](begun)
    coarse = cycle.smoothing[1][0](begun, coarse_f, cycle.operators[1])
    (correction,) = torch.autograd.functional.vjp(cycle.restrictions[0], torch.zeros_like(f), coarse - begun)[1:]
    u = u + correction
    for step in (fine[1], fine[0]):
        u = step(u, f, A)
    torch.testing.assert_close(cycle(f), u, rtol=0, atol=1e-12)


def small(**arguments: object) -> MgNet:
    torch.manual_seed(0)
    return MgNet(**{"channels": (8, 12), "steps": (2, 1), "classes": 4, **arguments})


def test_overfit() -> None:
    overfits(small(), torch.randn(16, 3, 6, 6), torch.arange(16) % 4, functional.cross_entropy, steps=100)


def test_it_behaves() -> None:
    behaves(small(), small(), torch.randn(3, 3, 6, 6))


def test_wrong_arguments_are_refused() -> None:
    for wrong in ({"steps": (1,)}, {"channels": (), "steps": ()}):
        with pytest.raises(UsageError, match=r"numbers of channels.*\n*.*MgCycle"):
            MgCycle(**{"channels": (8, 12), "steps": (2, 1), **wrong})
    with pytest.raises(UsageError, match="padding is 2"):
        MgCycle([8], [1], padding=2)
    for wrong in ({"channels": (8, 0)}, {"steps": (0, 1)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    for build in (lambda: poisson_cycle(0), lambda: poisson_cycle(2, steps=0)):
        with pytest.raises(UsageError, match=r"is 0.*: poisson_cycle"):
            build()
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)):
        with pytest.raises(UsageError, match=r"MgNet\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match=r"MgCycle\nGive \[batch, 1, height, width\] .*, both at least 7"):
        poisson_cycle(3)(torch.zeros(1, 1, 6, 6))
    with pytest.raises(UsageError, match=r"u is \[1, 1, 7, 8\]"):
        poisson_cycle(3)(torch.zeros(1, 1, 7, 7), torch.zeros(1, 1, 7, 8))
