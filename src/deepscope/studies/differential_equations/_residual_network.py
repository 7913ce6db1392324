"""Residual networks whose blocks are steps of a numerical method: depth is time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Scheme:
    """An explicit method for y′ = f(t, y): yₖ₊₁ = yₖ + h (s + m (s − s of the step before)) with s = Σᵢ bᵢ fᵢ.

    Here fᵢ = f(tₖ + cᵢ h, yₖ + h Σⱼ aᵢⱼ fⱼ). The first step has no step before it and takes m = 0.

    Attributes
    ----------
    order
        The global error is O(h^order) for a smooth f.
    nodes, inner, outer
        c, the rows of a, and b of a Runge–Kutta method: Butcher's tableau.
    memory
        m: 0 for a method of one step.
    """

    order: int
    nodes: tuple[float, ...]
    inner: tuple[tuple[float, ...], ...]
    outer: tuple[float, ...]
    memory: float = 0.0


SCHEMES = {
    "euler": Scheme(1, (0.0,), ((),), (1.0,)),
    "rk2": Scheme(2, (0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "ab2": Scheme(2, (0.0,), ((),), (1.0,), memory=0.5),
    "rk4": Scheme(4, (0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


class ResidualNetwork(nn.Module):
    """Residual network of depth 1: each block adds to its input h times what its layers φ(W y + b) give.

    Parameters
    ----------
    scheme
        How a block combines its layers; with ``SCHEMES["euler"]`` it has one, and is the usual residual block.
    weights
        Maps depths in [0, 1] of shape [blocks, layers of a block] to weights [blocks, layers, …, width, width]. Further
        dimensions in the middle are networks that run side by side.
    bias
        b, [width], the same in all layers.
    blocks
        Their number, 1/h.
    activation
        φ.
    """

    def __init__(
        self,
        scheme: Scheme,
        weights: Callable[[Tensor], Tensor],
        bias: Tensor,
        blocks: int,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
    ) -> None:
        super().__init__()
        self.scheme, self.step, self.activation = scheme, 1 / blocks, activation
        starts = torch.arange(blocks, dtype=torch.float64) / blocks
        depths = starts[:, None] + self.step * torch.tensor(scheme.nodes, dtype=torch.float64)
        self.weights = nn.Parameter(weights(depths))
        self.bias = nn.Parameter(bias.clone())

    def forward(self, y: Tensor) -> Tensor:
        """Map [width], or [networks, width], from depth 0 to depth 1."""
        before: Tensor | None = None
        for block in self.weights:
            branch = self._branch(block, y)
            change = branch if before is None else branch + self.scheme.memory * (branch - before)
            y = y + self.step * change
            before = branch
        return y

    def _branch(self, block: Tensor, y: Tensor) -> Tensor:
        layers: list[Tensor] = []
        for weight, row in zip(block, self.scheme.inner, strict=True):
            within = y + self.step * _combined(row, layers) if any(row) else y
            layers.append(self.activation((weight @ within.unsqueeze(-1)).squeeze(-1) + self.bias))
        return _combined(self.scheme.outer, layers)


def _combined(coefficients: tuple[float, ...], layers: list[Tensor]) -> Tensor:
    return torch.stack([c * layer for c, layer in zip(coefficients, layers, strict=True) if c]).sum(0)
