from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import AllenCahn, DeepBSDE, HamiltonJacobiBellman


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(solver: DeepBSDE) -> DeepBSDE:
    """Return the solver with no parameter left at 0 or 1, in float64."""
    solver.double()
    draws = generator(7)
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return solver


def network(solver: DeepBSDE, n: int, x: Tensor) -> Tensor:
    """Twin: Z at one point and time, as the docstring writes it."""
    problem, layers = solver.problem, solver.networks
    unit = solver.unit / math.sqrt(problem.horizon * problem.dimension)
    if n == 0:
        return unit * solver.initial_gradient
    t = n * problem.horizon / solver.steps
    h = (x - solver.point) / (problem.diffusion * math.sqrt(t))
    for layer in (1, 2):
        weight, bias = getattr(layers, f"weight{layer}")[n - 1], getattr(layers, f"bias{layer}")[n - 1, 0]
        h = torch.tanh(h @ weight + bias)
    return unit * layers.factor[n - 1, 0] * (h @ layers.weight3[n - 1] + layers.bias3[n - 1, 0])


@dataclass(frozen=True)
class Everything:
    """A driver of time, place, value and gradient."""

    dimension: int = 3
    horizon: float = 0.7
    diffusion: float = 1.3

    def driver(self, t: float, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.sin(t + x[..., 0]) * y + z.sum(-1)

    def terminal(self, x: Tensor) -> Tensor:
        return x.square().sum(-1)


PROBLEMS = [AllenCahn(dimension=3), HamiltonJacobiBellman(rate=2.0, dimension=3), Everything()]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: type(problem).__name__)
def test_paths_follow_the_recursion_one_by_one(problem):
    point = torch.tensor([0.5, -1.0, 2.0])
    solver = shaken(DeepBSDE(problem, 4, point=point, generator=generator()))
    increments = solver.increments(5, generator(1))
    ends, targets = solver(increments)
    h = problem.horizon / 4
    for path in range(5):
        x, y = point.double(), solver.mean + solver.unit * solver.value
        for n in range(4):
            z, dw = network(solver, n, x), increments[n, path]
            y = y - problem.driver(n * h, x, y, z) * h + z @ dw
            x = x + problem.diffusion * dw
        torch.testing.assert_close(ends[path], y, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(targets[path], problem.terminal(x), rtol=1e-12, atol=1e-12)


def test_drivers_and_terminal_values_are_the_published_ones():
    x, y, z = torch.tensor([[3.0, 4.0]]), torch.tensor([0.5]), torch.tensor([[1.0, 2.0]])
    bellman, reaction = HamiltonJacobiBellman(rate=2.0, dimension=2), AllenCahn(dimension=2)
    assert bellman.driver(0.0, x, y, z).item() == -5.0
    assert bellman.terminal(x).item() == pytest.approx(math.log(13))
    assert reaction.driver(0.0, x, y, z).item() == 0.375
    assert reaction.terminal(x).item() == pytest.approx(1 / 12)


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_refined_solver_computes_the_same_functions(steps):
    solver = shaken(DeepBSDE(HamiltonJacobiBellman(dimension=3), steps, generator=generator()))
    finer = solver.refined()
    assert finer.steps == 2 * steps
    assert finer.solution == solver.solution
    x = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    for n in range(2 * steps):
        # 0 | 1, 2 -> 1 | 3, 4 -> 2 | …, and the last once more.
        expected = network(solver, min(-(-n // 2), steps - 1), x)
        torch.testing.assert_close(network(finer, n, x), expected, rtol=1e-12, atol=1e-12)
    before = solver.networks.weight1.clone()
    finer(finer.increments(4, generator()))[0].sum().backward()
    with torch.no_grad():
        finer.networks.weight1.add_(1.0)
    assert torch.equal(solver.networks.weight1, before)
    assert all(parameter.grad is not None for parameter in finer.parameters())


def test_untrained_it_is_the_solution_without_a_network():
    problem = HamiltonJacobiBellman(rate=5.0, dimension=10)
    solver = DeepBSDE(problem, 6, generator=generator())
    ends, targets = solver(solver.increments(50_000, generator(1)))
    assert torch.equal(ends, ends[:1].expand(50_000))
    # Two samples' means; each standard error is 1/√n of the deviation.
    error = 5 * targets.std().item() * (50_000**-0.5 + 16_384**-0.5)
    assert solver.solution == pytest.approx(targets.mean().item(), abs=error)


def test_parameters_and_increments():
    solver = DeepBSDE(AllenCahn(dimension=7), 5, hidden=11, generator=generator())
    count = sum(parameter.numel() for parameter in solver.parameters())
    # The formula, and a factor for each network.
    assert count == 1 + 7 + 4 * (2 * 7 * 11 + 11**2 + 2 * 11 + 7 + 1)
    weight = solver.networks.weight1[0]
    torch.testing.assert_close(weight @ weight.T, 0.25 * torch.eye(7), rtol=0, atol=1e-6)
    assert DeepBSDE(AllenCahn(dimension=7), 5).networks.weight1.shape == (4, 7, 17)
    increments = solver.increments(20_000, generator())
    assert increments.shape == (5, 20_000, 7)
    # A variance from 700,000 numbers has a relative standard error of 0.0017.
    assert increments.var().item() == pytest.approx(0.3 / 5, rel=0.01)
    assert torch.equal(increments, solver.increments(20_000, generator()))
    assert solver.double().increments(2).dtype == torch.float64


def test_training_finds_the_solution_of_cole_and_hopf():
    """In two dimensions |X_T|² is exponential, of mean 4: one integral each for the truth and for no network."""
    rate = 5.0
    problem = HamiltonJacobiBellman(rate=rate, dimension=2)
    moment = quad(lambda s: math.exp(-s) * (2 / (1 + 4 * s)) ** rate, 0, math.inf)[0]
    truth = -math.log(moment) / rate
    nothing = quad(lambda s: math.exp(-s) * math.log((1 + 4 * s) / 2), 0, 60)[0]
    assert nothing - truth > 0.5
    solver = DeepBSDE(problem, 20, generator=generator())
    optimizer = torch.optim.Adam(solver.parameters(), lr=1e-2)
    draws = generator(1)
    for _ in range(300):
        ends, targets = solver(solver.increments(512, draws))
        optimizer.zero_grad()
        (ends - targets).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        ends, targets = solver(solver.increments(20_000, draws))
    assert (ends - targets).square().mean() < 0.25 * targets.var()
    assert abs(solver.solution - truth) < 0.25 * (nothing - truth)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: AllenCahn(dimension=0), "dimension 0"),
        (lambda: replace(AllenCahn(), horizon=0.0), "horizon 0"),
        (lambda: HamiltonJacobiBellman(diffusion=-1.0), "diffusion -1"),
        (lambda: HamiltonJacobiBellman(rate=-1.0), "rate is -1"),
        (lambda: DeepBSDE(AllenCahn(dimension=2), 1), "1 steps"),
        (lambda: DeepBSDE(AllenCahn(dimension=2), 3, hidden=0), "width 0"),
        (lambda: DeepBSDE(AllenCahn(dimension=2), 3, point=torch.zeros(3)), r"shape \[3\]"),
        (lambda: DeepBSDE(AllenCahn(dimension=2), 3)(torch.zeros(4, 5, 2)), r"shape \[4, 5, 2\]"),
        (lambda: DeepBSDE(AllenCahn(dimension=2), 3)(torch.zeros(3, 2)), r"shape \[3, 2\]"),
    ],
)
def test_bad_input_is_refused(build, match):
    with pytest.raises(UsageError, match=match):
        build()
