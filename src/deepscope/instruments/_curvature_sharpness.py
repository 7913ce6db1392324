"""Sharpness: how much the loss rises at most within a small neighbourhood, by the definitions in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.instruments._curvature_loss import MeanLoss, Piece

#: Radii as in the papers: 0.05 for a ball, 0.5 where each parameter counts in its own size, and 1e-3 for the box.
RHO = 0.05
ADAPTIVE_RHO = 0.5
BOX = 1e-3
#: Gradients spent on each.
STEPS = 5

#: From a gradient to the point of the neighbourhood that lies farthest along it.
Farthest = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """How much the loss rises; each a lower bound of the largest rise, since an ascent may miss the highest point.

    Attributes
    ----------
    sam
        max L(θ + ε) − L(θ) over ‖ε‖₂ ≤ 0.05.
    adaptive
        The same over ‖ε/θ‖₂ ≤ 0.5, the division by parameter: it does not change when layers are rescaled.
    keskar
        100·(max L(θ + ε) − L(θ))/(1 + L(θ)) over |εᵢ| ≤ 1e-3·(|θᵢ| + 1).
    """

    sam: float | None
    adaptive: float | None
    keskar: float | None


def value_and_gradient(loss: MeanLoss, pieces: Sequence[Piece], point: Tensor) -> tuple[float, Tensor]:
    """Return L(θ) and its gradient, [n]."""
    total, gradient = 0.0, torch.zeros_like(point)
    sums = loss.split(gradient)
    for piece in pieces:
        leaves = loss.leaves(point)
        value = loss.of(loss.outputs(leaves, piece), piece)
        for index, found in enumerate(loss.gradients(value, leaves, create_graph=False)):
            if found is not None:
                sums[index].add_(found, alpha=piece.weight)
                loss.used.add(index)
        total += float(value.detach()) * piece.weight
    return total, gradient


def sharpness(loss: MeanLoss, pieces: Sequence[Piece], point: Tensor, value: float, gradient: Tensor) -> Sharpness:
    """Return the sharpness at a point by three definitions.

    Each ascent goes to the point of the neighbourhood that lies farthest along the gradient, and from there on by the
    gradient found there: the first step alone is that of SAM (``foret2021sharpness``), and of ASAM
    (``kwon2021asam``). On a convex function no step goes down (the highest point of a linear lower bound is no higher
    than the function), elsewhere the highest point met counts.

    Parameters
    ----------
    loss, pieces
        The function and its data.
    point, value, gradient
        θ, L(θ) and ∇L(θ).

    Notes
    -----
    Cost: 15 gradients. The box is that of Keskar et al. (``keskar2017large``), who ascend by L-BFGS-B.
    """
    size = point.abs()

    def ball(g: Tensor) -> Tensor:
        return RHO * g / _norm(g)

    def ellipsoid(g: Tensor) -> Tensor:
        return ADAPTIVE_RHO * size * size * g / _norm(size * g)

    def box(g: Tensor) -> Tensor:
        return BOX * (size + 1) * g.sign()

    sam, adaptive, cube = (_rise(loss, pieces, point, value, gradient, each) for each in (ball, ellipsoid, box))
    return Sharpness(sam=sam, adaptive=adaptive, keskar=None if cube is None else 100 * cube / (1 + value))


def _rise(
    loss: MeanLoss, pieces: Sequence[Piece], point: Tensor, value: float, gradient: Tensor, farthest: Farthest
) -> float | None:
    highest = -math.inf
    for _ in range(STEPS):
        there, gradient = value_and_gradient(loss, pieces, point + farthest(gradient))
        highest = max(highest, there - value)
    return highest if math.isfinite(highest) else None


def _norm(vector: Tensor) -> Tensor:
    # At a gradient of exactly 0 every direction is as good, and none is taken.
    norm: Tensor = torch.linalg.vector_norm(vector)
    return norm.clamp_min(torch.finfo(vector.dtype).tiny)
