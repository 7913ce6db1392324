"""Layers that solve an ordinary differential equation: order, gradients, memory, failures that are told."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchdiffeq
from saved_bytes import saved_bytes
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from deepscope.core import MeasurementError, UsageError
from deepscope.models import ODEBlock, PerceptronField


def field(features: int = 3) -> PerceptronField:
    torch.manual_seed(0)
    return PerceptronField(features, [5]).double()


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Scaled(nn.Module):
    """dz/dt = a zᵖ."""

    def __init__(self, factor: float = -1.0, power: int = 1) -> None:
        super().__init__()
        self.factor, self.power = nn.Parameter(torch.tensor(factor, dtype=torch.float64)), power

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        del t
        return self.factor * z**self.power


@pytest.mark.parametrize(
    ("method", "order"),
    [("euler", 1), ("midpoint", 2), ("heun2", 2), ("heun3", 3), ("rk4", 4)],
)
def test_the_error_falls_with_the_order_of_the_solver(method: str, order: int) -> None:
    matrix = torch.tensor([[-0.5, 2.0, 0.0], [-2.0, -0.1, 0.3], [0.1, 0.0, -1.0]], dtype=torch.float64)
    linear = PerceptronField(3, time=False).double()
    with torch.no_grad():
        linear.layers.output.weight.copy_(matrix)
        linear.layers.output.bias.zero_()
    x = numbers(4, 3)
    exact = x @ torch.linalg.matrix_exp(matrix).T
    errors = []
    for steps in (32, 64, 128):
        block = ODEBlock(linear, method=method, step=1 / steps)
        errors.append((block(x) - exact).norm().item())
    # An error C hᵖ (1 + O(h)): halving h divides it by 2ᵖ to within some h.
    for coarse, fine in pairwise(errors):
        assert abs(math.log2(coarse / fine) - order) < 0.1


def test_one_step_of_euler_is_a_residual_block() -> None:
    f, x = field(), numbers(4, 3)
    block = ODEBlock(f, times=[0.0, 0.5, 1.0], method="euler")
    h = x + 0.5 * f(torch.tensor(0.0), x)
    h = h + 0.5 * f(torch.tensor(0.5), h)
    torch.testing.assert_close(block(x), h, rtol=0, atol=1e-15)
    assert block.evaluations == 2


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("method", "step"), [("dopri5", None), ("rk4", 0.1)])
def test_it_is_torchdiffeq(adjoint: bool, method: str, step: float | None) -> None:
    f, x = field(), numbers(4, 3)
    block = ODEBlock(f, times=[0.0, 0.4, 1.0], method=method, step=step, adjoint=adjoint, rtol=1e-6, atol=1e-7)
    solve = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
    t = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    options = {"step_t": t} if step is None else {"step_size": step}
    theirs = solve(f, x, t, rtol=1e-6, atol=1e-7, method=method, options=options).transpose(0, 1)
    ours = block.trajectory(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15)
    for mine, their in zip(
        torch.autograd.grad(ours.square().sum(), list(f.parameters())),
        torch.autograd.grad(theirs.square().sum(), list(f.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-14)


def gradients(block: ODEBlock, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()]))


def test_the_adjoint_is_the_gradient_of_the_steps_to_within_the_tolerance() -> None:
    f, x = field(), numbers(4, 3)
    for tolerance in (1e-4, 1e-6, 1e-8):
        given = {"rtol": tolerance, "atol": tolerance}
        through_steps, adjoint = ODEBlock(f, **given), ODEBlock(f, adjoint=True, **given)
        for mine, their in zip(gradients(adjoint, x), gradients(through_steps, x), strict=True):
            # Each of the some ten steps errs by the tolerance; both solutions are of order 1.
            torch.testing.assert_close(mine, their, rtol=0, atol=30 * tolerance * max(1.0, float(their.norm())))
    assert adjoint.backward_evaluations > 0
    assert through_steps.backward_evaluations == 0
    # With few steps of a fixed length the two differ by the error of the method: discretising is not the same.
    coarse = [ODEBlock(f, method="euler", step=0.25, adjoint=adjoint) for adjoint in (False, True)]
    (mine, *_), (their, *_) = gradients(coarse[0], x), gradients(coarse[1], x)
    assert (mine - their).norm() > 1e-3 * their.norm()


def test_the_adjoint_is_the_sensitivity_that_scipy_integrates_forward() -> None:
    """The twin solves dz/dt = f and dS/dt = (∂f/∂z) S + ∂f/∂θ beside one another, written in numpy for W tanh(V z)."""
    torch.manual_seed(0)
    f = PerceptronField(2, [3], time=False).double()
    x = numbers(1, 2)
    V, c, W, d = (each.detach().numpy() for each in f.parameters())
    sizes = [each.size for each in (V, c, W, d)]

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        z, S = state[:2], state[2:].reshape(2, -1)
        h = np.tanh(V @ z + c)
        inner = W * (1 - h**2)
        by_parameters = np.concatenate(
            [
                np.einsum("ij,k->ijk", inner, z).reshape(2, -1),
                inner,
                np.einsum("ij,k->ijk", np.eye(2), h).reshape(2, -1),
                np.eye(2),
            ],
            axis=1,
        )
        changed = inner @ V @ S
        changed[:, 2:] += by_parameters
        return np.concatenate([W @ h + d, changed.ravel()])

    start = np.concatenate([x.numpy().ravel(), np.hstack([np.eye(2), np.zeros((2, sum(sizes)))]).ravel()])
    end = solve_ivp(slope, (0, 1), start, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    expected = 2 * end[:2] @ end[2:].reshape(2, -1)
    block = ODEBlock(f, method="dopri8", rtol=1e-12, atol=1e-13, adjoint=True)
    found = torch.cat([each.ravel() for each in gradients(block, x)])
    # Both solve to 1e-12 a step; a solution of some ten steps.
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-10)


def test_the_adjoint_keeps_no_more_the_more_steps_there_are() -> None:
    f, x = field(), numbers(4, 3)

    def kept(step: float, adjoint: bool) -> int:
        block = ODEBlock(f, method="rk4", step=step, adjoint=adjoint)
        return saved_bytes(lambda: block(x))

    assert kept(0.25, adjoint=True) == kept(0.025, adjoint=True) < kept(0.25, adjoint=False)
    # What each step keeps dominates what they share: nearly ten times as much for ten times the steps.
    assert kept(0.025, adjoint=False) > 8 * kept(0.25, adjoint=False)


def test_second_derivatives_go_through_the_steps_and_are_refused_through_the_adjoint() -> None:
    f, x = field(), numbers(2, 3).requires_grad_()
    block = ODEBlock(f, method="rk4", step=0.5)
    assert torch.autograd.gradgradcheck(block, (x,))
    block.adjoint = True
    with pytest.raises(UsageError, match="adjoint=False"):
        torch.autograd.grad(block(x).square().sum(), x, create_graph=True)


def test_evaluations_grow_as_the_tolerance_falls() -> None:
    f, x = field(), numbers(4, 3)
    counts = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        block = ODEBlock(f, rtol=tolerance, atol=tolerance)
        block(x)
        counts.append(block.evaluations)
    assert counts[0] < counts[1] < counts[2]
    # Two calls choose the first step, then six are made in each step of the method of Dormand and Prince.
    assert all((count - 2) % 6 == 0 for count in counts)


def test_zeros_are_appended_to_features_and_to_channels() -> None:
    still = ODEBlock(Scaled(0.0), method="euler", augment=2)
    assert torch.equal(still(numbers(4, 3))[:, 3:], torch.zeros(4, 2, dtype=torch.float64))
    images = numbers(2, 3, 4, 5)
    wider = still(images)
    assert torch.equal(wider[:, :3], images)
    assert torch.equal(wider[:, 3:], torch.zeros(2, 2, 4, 5, dtype=torch.float64))


def test_a_solver_that_does_not_arrive_says_so() -> None:
    # z = 1/(1 − t) has no value at 1, and a solution that is not finite none at all.
    with pytest.raises(MeasurementError, match=r"did not arrive: underflow"):
        ODEBlock(Scaled(1.0, power=2), times=[0, 2])(torch.ones(1, 1, dtype=torch.float64))
    with pytest.raises(MeasurementError, match="did not arrive: max_num_steps"):
        ODEBlock(Scaled(), max_steps=3, times=[0, 100])(torch.ones(1, 1, dtype=torch.float64))
    for wrong in (math.nan, math.inf):
        with pytest.raises(MeasurementError, match="did not arrive"):
            ODEBlock(Scaled())(torch.tensor([[1.0], [wrong]], dtype=torch.float64))
    # A solver of fixed steps hides nothing, and mixes no samples.
    after = ODEBlock(Scaled(), method="rk4")(torch.tensor([[1.0], [math.nan]], dtype=torch.float64))
    assert after[0].isfinite()
    assert after[1].isnan()


def test_wrong_arguments_are_refused() -> None:
    for times in ([0.0], [], [0.0, 0.0], [1.0, 0.0], [0.0, 2.0, 1.0], [0.0, math.inf], [0.0, math.nan]):
        with pytest.raises(UsageError, match=r"the times are .*: ODEBlock\nGive two or more finite times"):
            ODEBlock(Scaled(), times=times)
    for wrong in (0.0, -1e-3, math.nan, math.inf):
        for argument in ("rtol", "atol", "step", "max_steps"):
            with pytest.raises(UsageError, match=rf"{argument} is .*: ODEBlock"):
                ODEBlock(Scaled(), **{"method": "rk4", argument: wrong})
    with pytest.raises(UsageError, match="unknown solver: dopri6"):
        ODEBlock(Scaled(), method="dopri6")
    with pytest.raises(UsageError, match="dopri5 chooses its steps"):
        ODEBlock(Scaled(), step=0.1)
    with pytest.raises(UsageError, match="augment is -1"):
        ODEBlock(Scaled(), augment=-1)
    for x in (torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"the input is \["):
            ODEBlock(Scaled())(x)

    class Narrower(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            del t
            return z[:, :1]

    for adjoint in (False, True):
        with pytest.raises(UsageError, match=r"the field maps \[2, 3\] to \[2, 1\]"):
            ODEBlock(Narrower(), adjoint=adjoint)(torch.zeros(2, 3))
