"""The least terminal loss itself: for a solution that depends on |x| only, the network's place is taken by few numbers.

From the origin u(t, x) depends on x through |x|² alone, so that σ∇u(t, x) = φ(t, |x|²) x. With φ a parabola in |x|² at
each time, three coefficients in place of a network, the loss can be minimised to the end: what then differs from
u(0, 0) is owed to the steps in time and to the loss, and not to training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepscope.models import ParabolicProblem

#: Iterations of L-BFGS; the loss is then at rest to four digits.
_ITERATIONS = 60


def least_loss(problem: ParabolicProblem, steps: int, paths: int, generator: torch.Generator) -> tuple[float, float]:
    """Return Y₀ and the terminal loss over the variance of g, on as many fresh paths as were fitted to."""
    fitted, fresh = (_paths(problem, steps, paths, generator) for _ in range(2))
    # Scaled so that coefficients of order 1 explain g: σ∇u has the size of sd g over √(T d), and |x| is about √d.
    unit = fitted[-1].std() / (problem.dimension * problem.horizon * problem.diffusion)
    coefficients = torch.zeros(3, steps - 1, 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _residuals(problem, unit * coefficients, fitted).var() / fitted[-1].var()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        residuals = _residuals(problem, unit * coefficients, fresh)
        return residuals.mean().item(), (residuals.var() / fresh[-1].var()).item()


def _paths(
    problem: ParabolicProblem, steps: int, paths: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return |Xₙ|² and Xₙ·ΔWₙ for 0 < n < N, both [N − 1, paths], and g(X_N)."""
    step = problem.horizon / steps
    x = torch.zeros(paths, problem.dimension)
    squares, products = [], []
    for _ in range(steps):
        increment = math.sqrt(step) * torch.randn(paths, problem.dimension, generator=generator)
        squares.append(x.square().sum(1))
        products.append((x * increment).sum(1))
        x = x + problem.diffusion * increment
    return torch.stack(squares[1:]), torch.stack(products[1:]), problem.terminal(x)


def _residuals(problem: ParabolicProblem, coefficients: Tensor, paths: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return g(X_N) − (Y_N − Y₀) for a driver that depends on |z| alone."""
    squares, products, ends = paths
    steps = len(squares) + 1
    step, d = problem.horizon / steps, problem.dimension
    typical = d * problem.diffusion**2 * step * torch.arange(1, steps).view(-1, 1)
    deviation = (squares / typical - 1) / math.sqrt(2 / d)
    constant, slope, curvature = coefficients
    phi = constant + slope * deviation + curvature * (deviation**2 - 1)
    norms = (phi * squares.sqrt()).unsqueeze(-1)
    none = torch.zeros(())
    cost = torch.stack([problem.driver(0.0, none, none, norm) for norm in norms]).sum(0)
    residuals: Tensor = ends - (phi * products).sum(0) + step * cost
    return residuals
