"""Anderson acceleration."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from deepscope.core import MeasurementError, UsageError
from deepscope.models import Anderson


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def linear(size: int = 6) -> tuple[Tensor, Tensor]:
    matrix = numbers(size, size)
    return 0.9 * matrix / torch.linalg.matrix_norm(matrix, 2), numbers(3, size)


def test_it_finds_the_solution_of_a_linear_equation_in_as_many_steps_as_unknowns() -> None:
    matrix, x = linear()
    # With all differences it minimises over a Krylov space as GMRES does: after 6 of them the residual is 0.
    z, found = Anderson(tolerance=1e-9, memory=6)(lambda z: z @ matrix.T + x, torch.zeros_like(x))
    assert found.converged
    assert found.residual <= 1e-9
    assert found.steps <= 8
    exact = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - matrix, x.T).T
    # |z − z*| ≤ |(1 − M)⁻¹| |f(z) − z|, and |(1 − M)⁻¹| ≤ 1/(1 − 0.9).
    assert ((z - exact).norm(dim=1) <= 10 * 1e-9 * exact.norm(dim=1) * 1.01).all()
    plain, slow = Anderson(tolerance=1e-9, memory=0, max_steps=400)(lambda z: z @ matrix.T + x, torch.zeros_like(x))
    assert slow.converged
    assert slow.steps > 3 * found.steps
    torch.testing.assert_close(plain, z, rtol=0, atol=1e-7)


@pytest.mark.parametrize("damping", [1.0, 0.6])
def test_it_is_the_recursion_of_its_docstring(damping: float) -> None:
    """The twin keeps all lists and solves each least-squares problem by QR, in one sample."""
    x = numbers(1, 4)

    def f(z: Tensor) -> Tensor:
        return torch.tanh(1.3 * z.flip(-1) + x)

    points, gaps, z = [], [], torch.zeros(4, dtype=torch.float64)
    for step in range(1, 7):
        gap = f(z[None])[0] - z
        points.append(z)
        gaps.append(gap)
        # With so few steps nothing is near convergence, and the ridge moves the mix by some ε cond(ΔG)².
        solver = Anderson(tolerance=1e-14, max_steps=step, memory=2, damping=damping, strict=False)
        found, _ = solver(f, torch.zeros_like(x))
        moved, changed = ([b - a for a, b in pairwise(each)][-2:] for each in (points, gaps))
        following = z + damping * gap
        if moved:
            Z, G = torch.stack(moved, 1), torch.stack(changed, 1)
            following = following - (Z + damping * G) @ torch.linalg.lstsq(G, gap).solution
        torch.testing.assert_close(found[0], following, rtol=0, atol=1e-9)
        z = following


def test_samples_are_solved_of_their_own() -> None:
    matrix, x = linear()
    solver = Anderson(tolerance=1e-10)
    # One sample begins at its solution, one takes many steps.
    start = torch.zeros_like(x)
    x[0] = 0
    together, _ = solver(lambda z: torch.tanh(z @ matrix.T + x), start)
    for index in range(3):
        alone, _ = solver(lambda z, i=index: torch.tanh(z @ matrix.T + x[i : i + 1]), start[index : index + 1])
        # Another batch is another order of the sums in a product of matrices.
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-12)


def test_what_is_no_number_stays_so_and_alone() -> None:
    matrix, x = linear()
    x[1, 2] = math.nan
    z, found = Anderson(tolerance=1e-8)(lambda z: torch.tanh(z @ matrix.T + x), torch.zeros_like(x))
    assert z[1].isnan().any()
    assert z[[0, 2]].isfinite().all()
    assert found.residual <= 1e-8


def test_giving_up_is_told() -> None:
    def away(z: Tensor) -> Tensor:
        return z + 1

    with pytest.raises(MeasurementError, match=r"no fixed point after 7 steps: the residual is .*: Anderson\nRaise"):
        Anderson(max_steps=7)(away, torch.zeros(1, 2))
    _, found = Anderson(max_steps=7, strict=False)(away, torch.zeros(1, 2))
    assert not found.converged
    assert found.residual > 1e-4
    assert found.steps == 7
    # Within one step nothing but the start can be a fixed point.
    assert Anderson(max_steps=1)(torch.sin, torch.zeros(2, 3))[1].converged


def test_its_residual_is_relative_to_the_value() -> None:
    start = torch.full((1, 2), 5.0, dtype=torch.float64)
    z, found = Anderson(max_steps=1, strict=False)(lambda z: z / 4 + 1, start)
    # f(5) = 2.25: it is 2.75 away.
    assert found.residual == pytest.approx(2.75 / 2.25, rel=1e-12)
    assert torch.equal(z, torch.full_like(start, 2.25))


def test_wrong_arguments_are_refused() -> None:
    for argument, wrong in (
        ("tolerance", (0.0, -1.0, math.nan)),
        ("max_steps", (0,)),
        ("memory", (-1,)),
        ("damping", (0.0, 1.5, math.nan)),
    ):
        for value in wrong:
            with pytest.raises(UsageError, match=f"{argument} is {value}: Anderson"):
                Anderson(**{argument: value})
    with pytest.raises(UsageError, match=r"f maps \[2, 3\] to \[2, 1\]"):
        Anderson()(lambda z: z[:, :1], torch.zeros(2, 3))
