"""Deep BSDE: a network that solves a parabolic equation at one point, in many dimensions."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._parabolic import HamiltonJacobiBellman, ParabolicProblem

#: Ends of paths from which the first guess of u(0, x₀) and the unit of u are taken.
_FIRST_GUESS = 16_384


class DeepBSDE(nn.Module):
    """Deep BSDE solver: u(0, x₀), and a network for σ∇u at each time, such that paths end at the terminal values.

    With steps h = T/N and Xₙ₊₁ = Xₙ + σ ΔWₙ from x₀,

        Yₙ₊₁ = Yₙ − f(tₙ, Xₙ, Yₙ, Zₙ) h + Zₙ·ΔWₙ,

    where Y₀ and Z₀ are trained as they are, and Zₙ = networkₙ(Xₙ) for 0 < n < N. Y_N would be g(X_N) were h → 0, Y₀ =
    u(0, x₀) and Zₙ = σ∇u(tₙ, Xₙ); training therefore reduces the mean of (Y_N − g(X_N))² over fresh paths. With the
    widths w of two hidden layers there are 1 + d + (N − 1)(2dw + w² + 2w + d + 1) parameters. An evaluation costs
    2(N − 1)(2dw + w²) operations a path. Source: ``han2018solving``.

    Four things differ from the paper, whose layers are rectified and batch-normalised. The input of network n is
    (Xₙ − x₀)/(σ √tₙ), which is exactly standard normal, in place of a batch's statistics. The hidden units are tanh and
    their weights orthogonal, of gain ½, at first: so each network begins close to a linear map of its input, which d
    rectified units with as many inputs are not. The output is in units of the standard deviation of g(X_T) over √(T d),
    and has one learned factor, as the last normalisation has; its weights begin at 0. And Y₀, in units of that standard
    deviation, begins at the mean of g(X_T) and not at a guess of the user's. An untrained solver is therefore the one
    with Z = 0.

    Parameters
    ----------
    problem
        The equation.
    steps
        N, at least 2.
    point
        x₀, [d]; the origin unless given.
    hidden
        w; d + 10 unless given, as in the paper.
    generator
        Draws the weights and the paths of the first guess.

    Raises
    ------
    UsageError
        Fewer than 2 steps, a width below 1, a point of another dimension.

    Examples
    --------
    >>> from deepscope.models import AllenCahn
    >>> solver = DeepBSDE(AllenCahn(), steps=20, generator=torch.Generator().manual_seed(0))
    >>> ends, targets = solver(solver.increments(8))
    >>> ends.shape, targets.shape, round(solver.solution, 3)
    (torch.Size([8]), torch.Size([8]), 0.039)
    """

    def __init__(
        self,
        problem: ParabolicProblem,
        steps: int,
        *,
        point: Tensor | None = None,
        hidden: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d = problem.dimension
        width = d + 10 if hidden is None else hidden
        point = torch.zeros(d) if point is None else point
        if steps < 2 or width < 1 or point.shape != (d,):
            raise UsageError(
                f"{steps} steps, width {width}, a point of shape {list(point.shape)}",
                where="DeepBSDE",
                todo=f"Give at least 2 steps, a width of at least 1 and a point of shape [{d}].",
            )
        self.problem, self.steps = problem, steps
        spread = problem.diffusion * math.sqrt(problem.horizon)
        guesses = problem.terminal(point + spread * torch.randn(_FIRST_GUESS, d, generator=generator))
        self.register_buffer("point", point.clone())
        self.register_buffer("mean", guesses.mean())
        self.register_buffer("unit", guesses.std())
        self.value = nn.Parameter(torch.zeros(()))
        self.initial_gradient = nn.Parameter(torch.zeros(d))
        self.networks = _Networks(steps - 1, d, width, generator)

    point: Tensor
    mean: Tensor
    unit: Tensor

    @property
    def step(self) -> float:
        """Return h."""
        return self.problem.horizon / self.steps

    @property
    def solution(self) -> float:
        """u(0, x₀), as it is known so far."""
        return self._initial_value().item()

    def increments(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw increments ΔW of Brownian paths, [N, batch, d]; on the CPU, then moved to the solver's device."""
        noise = torch.randn(self.steps, batch, self.problem.dimension, generator=generator, dtype=self.value.dtype)
        return (math.sqrt(self.step) * noise).to(self.value.device)

    def forward(self, increments: Tensor) -> tuple[Tensor, Tensor]:
        """Return Y_N and g(X_N), both [batch], of the paths with these increments, [N, batch, d]."""
        if increments.ndim != 3 or increments.shape[::2] != (self.steps, self.problem.dimension):
            raise UsageError(
                f"the increments have shape {list(increments.shape)}",
                where="DeepBSDE",
                todo=f"Give them as [{self.steps}, batch, {self.problem.dimension}]; increments(batch) draws them.",
            )
        moved = self.problem.diffusion * increments.cumsum(0)
        places = torch.cat([self.point.expand(1, *moved.shape[1:]), self.point + moved])
        gradients = self._gradients(moved[:-1])
        martingale = (gradients * increments).sum(-1)
        y = self._initial_value().expand(increments.shape[1])
        for n in range(self.steps):
            y = y - self.step * self.problem.driver(n * self.step, places[n], y, gradients[n]) + martingale[n]
        return y, self.problem.terminal(places[-1])

    def refined(self) -> DeepBSDE:
        """Return a solver with half the step that computes the same functions of x: a start for further training.

        The network of a coarse time serves this time and the new one before it, the last network the time after it too.
        """
        finer = copy.deepcopy(self)
        finer.steps = 2 * self.steps
        times = torch.arange(1, finer.steps)
        coarse = ((times + 1) // 2).clamp(max=self.steps - 1)
        finer.networks.take(coarse - 1, rescale=(times.double() / (2 * coarse)).sqrt())
        return finer

    def _initial_value(self) -> Tensor:
        return self.mean + self.unit * self.value

    def _gradients(self, moved: Tensor) -> Tensor:
        """Return Z, [N, batch, d], from Xₙ − x₀ for 0 < n < N."""
        times = self.step * torch.arange(1, self.steps, dtype=moved.dtype, device=moved.device)
        inputs = moved / (self.problem.diffusion * times.sqrt()).view(-1, 1, 1)
        first = self.initial_gradient.expand(1, *moved.shape[1:])
        unit = self.unit / math.sqrt(self.problem.horizon * self.problem.dimension)
        return unit * torch.cat([first, self.networks(inputs)])


class _Networks(nn.Module):
    """Perceptrons side by side, d → w → w → d, each with a factor for its outputs: [n, batch, d] to [n, batch, d]."""

    def __init__(self, count: int, dimension: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(_orthogonal(count, dimension, width, generator))
        self.weight2 = nn.Parameter(_orthogonal(count, width, width, generator))
        self.weight3 = nn.Parameter(torch.zeros(count, width, dimension))
        self.bias1 = nn.Parameter(torch.zeros(count, 1, width))
        self.bias2 = nn.Parameter(torch.zeros(count, 1, width))
        self.bias3 = nn.Parameter(torch.zeros(count, 1, dimension))
        self.factor = nn.Parameter(torch.ones(count, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(torch.baddbmm(self.bias1, x, self.weight1))
        x = torch.tanh(torch.baddbmm(self.bias2, x, self.weight2))
        return self.factor * torch.baddbmm(self.bias3, x, self.weight3)

    def take(self, index: Tensor, rescale: Tensor) -> None:
        """Put copies of these networks in the place of all, their inputs multiplied by ``rescale``."""
        for name, parameter in list(self.named_parameters()):
            setattr(self, name, nn.Parameter(parameter.detach()[index.to(parameter.device)]))
        with torch.no_grad():
            self.weight1.mul_(rescale.to(self.weight1).view(-1, 1, 1))


def _orthogonal(count: int, rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    weights = torch.empty(count, rows, columns)
    for weight in weights:
        nn.init.orthogonal_(weight, gain=0.5, generator=generator)
    return weights


def hamilton_jacobi_bellman_solver() -> DeepBSDE:
    """Return the published solver of the Hamilton–Jacobi–Bellman equation in 100 dimensions, of 20 steps.

    Source: ``han2018solving``.
    """
    return DeepBSDE(HamiltonJacobiBellman(), 20)


SPECIMENS = (
    Specimen(
        name="deep-bsde",
        title="Deep BSDE solver of parabolic equations in many dimensions",
        build=hamilton_jacobi_bellman_solver,
        inputs=lambda n, generator=None: math.sqrt(1 / 20) * torch.randn(20, n, 100, generator=generator),
        parameters=654_100,
        formula="Yₙ₊₁ = Yₙ − f(tₙ, Xₙ, Yₙ, Zₙ) h + Zₙ·ΔWₙ along Xₙ₊₁ = Xₙ + σ ΔWₙ, with Y₀, Z₀ and the networks "
        "Zₙ = networkₙ(Xₙ) trained to minimise E(Y_N − g(X_N))²; then Y₀ ≈ u(0, x₀) where ∂u/∂t + ½ σ² Δu + "
        "f(t, x, u, σ∇u) = 0 and u(T, x) = g(x).",
        source="han2018solving",
        pinned_by="tests/models/test_deep_bsde.py::test_training_finds_the_solution_of_cole_and_hopf",
    ),
)
