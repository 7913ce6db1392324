"""Semilinear parabolic partial differential equations, as the deep BSDE method takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deepscope.core import UsageError


class ParabolicProblem(Protocol):
    """∂u/∂t + ½ σ² Δu + f(t, x, u, σ∇u) = 0 for 0 ≤ t < T and x in d dimensions, with u(T, x) = g(x).

    By Itô's formula Y = u(t, X) and Z = σ∇u(t, X), along X = x₀ + σ W with a Brownian motion W, solve the backward
    stochastic differential equation dY = −f(t, X, Y, Z) dt + Z·dW, Y = g(X) at T.
    """

    @property
    def dimension(self) -> int:
        """D."""

    @property
    def horizon(self) -> float:
        """T."""

    @property
    def diffusion(self) -> float:
        """σ."""

    def driver(self, t: float, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return f, [batch], at a time, for x and z of shape [batch, d] and y of shape [batch]."""

    def terminal(self, x: Tensor) -> Tensor:
        """Return g, of shape […], for x of shape […, d]."""


@dataclass(frozen=True)
class AllenCahn:
    """Allen–Cahn equation: σ = √2, f = y − y³, g(x) = 1/(2 + 0.4 |x|²).

    A reaction with the stable states ±1, and diffusion. Source: ``han2018solving``, with d = 100 and T = 0.3.

    Raises
    ------
    UsageError
        A dimension below 1, a horizon that is not positive.

    Examples
    --------
    >>> AllenCahn().terminal(torch.zeros(3, 100))
    tensor([0.5000, 0.5000, 0.5000])
    """

    dimension: int = 100
    horizon: float = 0.3
    diffusion: float = math.sqrt(2)

    def __post_init__(self) -> None:
        _check(self)

    def driver(self, t: float, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return y − y³."""
        return y - y**3

    def terminal(self, x: Tensor) -> Tensor:
        """Return 1/(2 + 0.4 |x|²)."""
        return 1 / (2 + 0.4 * x.square().sum(-1))


@dataclass(frozen=True)
class HamiltonJacobiBellman:
    """Hamilton–Jacobi–Bellman equation ∂u/∂t + Δu = λ |∇u|²: σ = √2, f = −λ |z|²/2, g(x) = ln((1 + |x|²)/2).

    The least expected cost of steering dX = 2 √λ m dt + √2 dW by m, which costs |m|² per time, to where g is small.
    Source: ``han2018solving``, with d = 100 and T = 1.

    Parameters
    ----------
    rate
        λ, the strength of the control; with 0 it is the heat equation.

    Raises
    ------
    UsageError
        A dimension below 1, a horizon that is not positive, a negative rate.

    Notes
    -----
    By the substitution of Cole and Hopf u(0, x) = −(1/λ) ln E exp(−λ g(x + √2 W_T)), and E g(x + √2 W_T) for λ = 0.

    Examples
    --------
    >>> HamiltonJacobiBellman(rate=2.0).driver(0.0, torch.zeros(1, 100), torch.zeros(1), torch.ones(1, 100))
    tensor([-100.])
    """

    rate: float = 1.0
    dimension: int = 100
    horizon: float = 1.0
    diffusion: float = math.sqrt(2)

    def __post_init__(self) -> None:
        _check(self)
        if self.rate < 0:
            raise UsageError(f"the rate is {self.rate}", where="HamiltonJacobiBellman", todo="Give 0 or more.")

    def driver(self, t: float, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return −λ |z|²/2."""
        return -self.rate / 2 * z.square().sum(-1)

    def terminal(self, x: Tensor) -> Tensor:
        """Return ln((1 + |x|²)/2)."""
        return torch.log((1 + x.square().sum(-1)) / 2)


def _check(problem: ParabolicProblem) -> None:
    if problem.dimension < 1 or not problem.horizon > 0 or not problem.diffusion > 0:
        raise UsageError(
            f"dimension {problem.dimension}, horizon {problem.horizon}, diffusion {problem.diffusion}",
            where=type(problem).__name__,
            todo="Give a dimension of at least 1, and a horizon and a diffusion above 0.",
        )
