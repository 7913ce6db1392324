"""Equations whose gradients are asked for: Lotka–Volterra, Lorenz, and a small perceptron; and where they start."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, derive_seed, nearest
from deepscope.models import ODEBlock, PerceptronField
from deepscope.subject import seeded_generators

#: α, β, γ, δ of Lotka and Volterra; σ, ρ, β of Lorenz.
PREY_RATES, LORENZ_RATES = (1.5, 1.0, 3.0, 1.0), (10.0, 28.0, 8 / 3)
#: How long the Lorenz equation runs before its start is taken, which is then near the attractor.
RUN_IN = 5.0


class LotkaVolterra(nn.Module):
    """Prey and predators: x′ = αx − βxy, y′ = δxy − γy; parameters are the logarithms of α, β, γ, δ, [4]."""

    def __init__(self, rates: Tensor) -> None:
        super().__init__()
        self.log_rates = nn.Parameter(rates.log())

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt of z = (x, y), [batch, 2]."""
        alpha, beta, gamma, delta = self.log_rates.exp()
        x, y = z.unbind(-1)
        return torch.stack([alpha * x - beta * x * y, delta * x * y - gamma * y], -1)


class Lorenz(nn.Module):
    """x′ = σ(y − x), y′ = x(ρ − z) − y, z′ = xy − βz, with parameters [3] = σ, ρ, β."""

    def __init__(self, rates: Tensor) -> None:
        super().__init__()
        self.rates = nn.Parameter(rates.clone())

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, [batch, 3]."""
        sigma, rho, beta = self.rates
        x, y, w = z.unbind(-1)
        return torch.stack([sigma * (y - x), x * (rho - w) - y, x * y - beta * w], -1)


EQUATIONS = ("lotka-volterra", "lorenz", "perceptron")


def equation(name: str, seed: int) -> tuple[nn.Module, Tensor, float]:
    """Return a field in float64, a start, [1, features], and an end of time; a seed draws them.

    Rates are within a tenth of the usual ones; starts, of Lotka–Volterra around (1, 1).

    Raises
    ------
    UsageError
        An unknown equation.
    """
    if name not in EQUATIONS:
        raise UsageError("unknown equation", where=str(name), todo=nearest(str(name), EQUATIONS))
    generator = torch.Generator().manual_seed(derive_seed(seed, name))

    def around(values: tuple[float, ...]) -> Tensor:
        factors = 1 + 0.1 * (2 * torch.rand(len(values), generator=generator, dtype=torch.float64) - 1)
        return torch.tensor(values, dtype=torch.float64) * factors

    if name == "lotka-volterra":
        return LotkaVolterra(around(PREY_RATES)), around((1.0, 1.0))[None], 5.0
    if name == "lorenz":
        field = Lorenz(around(LORENZ_RATES))
        # A start in no special place: near the attractor.
        with torch.no_grad():
            start = ODEBlock(field, times=(0.0, RUN_IN), rtol=1e-6, atol=1e-6)(around((1.0, 1.0, 25.0))[None])
        return field, start, 2.0
    with seeded_generators(derive_seed(seed, "weights")):
        network = PerceptronField(2, [16]).double()
    return network, torch.randn(1, 2, generator=generator, dtype=torch.float64), 1.0
