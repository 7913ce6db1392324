"""What the solver is compared with: u(0, 0) to many digits, with no network and without Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from deepscope.models import AllenCahn, HamiltonJacobiBellman, ParabolicProblem

Floats = NDArray[np.float64]
#: Of |X|², [n], to g.
Radial = Callable[[Floats], Floats]

#: Cells of the coarser radial grid.
CELLS = 100


def radial_terminal(problem: ParabolicProblem) -> Radial:
    """Return g as a function of |x|², in float64: it is that of x = (|x|, 0, 0, …)."""

    def terminal(squares: Floats) -> Floats:
        x = torch.zeros(len(squares), problem.dimension, dtype=torch.float64)
        x[:, 0] = torch.from_numpy(np.sqrt(squares))
        found: Floats = problem.terminal(x).numpy()
        return found

    return terminal


def end_distribution(problem: ParabolicProblem) -> tuple[Floats, Floats]:
    """Return values of |X_T|² for paths from the origin, and the logarithms of their probabilities.

    |X_T|² is σ² T times a chi-squared variable of d degrees of freedom. The trapezoidal rule in its logarithm, on
    which the density is analytic and vanishes at both ends: 1e-12 of the mean for smooth functions.
    """
    d = problem.dimension
    logs = math.log(d) + np.linspace(-60, 5, 8_001)
    weights = d / 2 * logs - np.exp(logs) / 2
    weights -= np.logaddexp.reduce(weights)
    return problem.diffusion**2 * problem.horizon * np.exp(logs), weights


def terminal_mean(problem: ParabolicProblem) -> float:
    """Return E g(X_T)."""
    squares, weights = end_distribution(problem)
    return float(np.exp(weights) @ radial_terminal(problem)(squares))


def solution(problem: AllenCahn | HamiltonJacobiBellman) -> float:
    """Return u(0, 0): by quadrature where Cole and Hopf give it, else by the equation in the radius."""
    if isinstance(problem, AllenCahn):
        coarse, fine = (allen_cahn_on_grid(problem, cells) for cells in (CELLS, 2 * CELLS))
        return (4 * fine - coarse) / 3
    if problem.rate == 0:
        return terminal_mean(problem)
    squares, weights = end_distribution(problem)
    costs = problem.rate * radial_terminal(problem)(squares)
    return -float(np.logaddexp.reduce(weights - costs)) / problem.rate


def without_network(problem: AllenCahn | HamiltonJacobiBellman) -> float:
    """Return Y₀ of the best solution with Z = 0: what E g(X_T) was at the beginning, the driver alone acting on it."""
    mean = terminal_mean(problem)
    if isinstance(problem, HamiltonJacobiBellman):
        return mean
    # y′ = −(y − y³) from y(T) = mean is Bernoulli's equation.
    growth = math.exp(problem.horizon)
    return growth * mean / math.sqrt(1 + mean**2 * (growth**2 - 1))


def allen_cahn_on_grid(problem: AllenCahn, cells: int) -> float:
    """Return u(0, 0) of vₛ = ½ σ² (vᵣᵣ + (d − 1)/r vᵣ) + v − v³, by central differences in r and a stiff solver in s.

    The error is of second order in the cell's width. The grid ends 10 standard deviations of a coordinate beyond the
    typical |X_T|, with slope 0: too far to be felt at 0.
    """
    from scipy.integrate import solve_ivp
    from scipy.sparse import diags

    spread = problem.diffusion * math.sqrt(problem.horizon)
    r = np.linspace(0, spread * (math.sqrt(problem.dimension) + 10), cells + 1)
    dr, half = r[1], problem.diffusion**2 / 2
    drift = np.zeros(cells + 1)
    drift[1:] = (problem.dimension - 1) / (2 * r[1:]) * dr
    above, below = (half / dr**2 * (1 + drift))[:-1], (half / dr**2 * (1 - drift))[1:]
    # At 0 the Laplacian is d vᵣᵣ and v is even; at the end what lies beyond equals what lies before.
    above[0] = half / dr**2 * 2 * problem.dimension
    below[-1] = half / dr**2 * 2
    middle = np.full(cells + 1, -2 * half / dr**2)
    middle[0] = -above[0]
    operator = diags([below, middle, above], [-1, 0, 1]).tocsc()

    found = solve_ivp(
        lambda s, v: operator @ v + v - v**3,
        (0.0, problem.horizon),
        radial_terminal(problem)(r**2),
        method="BDF",
        jac=lambda s, v: operator + diags(1 - 3 * v**2).tocsc(),
        rtol=1e-9,
        atol=1e-12,
    )
    return float(found.y[0, -1])
