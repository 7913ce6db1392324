"""Planes along random directions in weight space: the loss and its curvature at points of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.data import Samples
from deepscope.linalg import LinearOperator, SpectrumEnds, block_lanczos

Direction = Mapping[str, Tensor]

#: An eigenvalue counts as found when its error is below this share of it, or of a twentieth of the largest one by size.
TOLERANCE = 0.02
NEGLIGIBLE = 0.05
MAX_BASIS = 120


def random_plane(model: nn.Module, seed: int, *, by_filter: bool = True) -> tuple[Direction, Direction]:
    """Return two Gaussian directions; biases do not move.

    ``by_filter``, each row of a weight matrix, all that feeds one unit, is made as long as the network's own row
    (``li2018visualizing``); otherwise entries are standard Gaussian. The same seed gives the same draws in all networks
    of one shape.
    """
    generator = torch.Generator().manual_seed(seed)
    return _direction(model, generator, by_filter), _direction(model, generator, by_filter)


def _direction(model: nn.Module, generator: torch.Generator, by_filter: bool) -> Direction:
    found = {}
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)
        if by_filter:
            drawn *= weight.detach().double().norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
        found[name] = drawn.to(weight.dtype)
    return found


def moved(model: nn.Module, directions: Sequence[Direction], place: Sequence[float]) -> dict[str, Tensor]:
    """Return a network's parameters at a point of the plane, as leaves; the network stays as it is."""
    found = {}
    for name, parameter in model.named_parameters():
        value = parameter.detach().clone()
        for direction, step in zip(directions, place, strict=True):
            if name in direction:
                value.add_(direction[name], alpha=step)
        found[name] = value.requires_grad_()
    return found


def losses_on_plane(
    model: nn.Module, directions: Sequence[Direction], samples: Samples, points: int, radius: float
) -> NDArray[np.float64]:
    """Return the mean cross-entropy on an even grid over the plane, [points, points], one forward pass at each point.

    ``landscape`` gives the same, and how each layer moves besides, which takes longer than a small grid.
    """
    with torch.no_grad():
        found = [_loss(model, moved(model, directions, place), samples).item() for place in _grid(points, radius)]
    return np.reshape(found, (points, points))


def hessian_ends(model: nn.Module, weights: Mapping[str, Tensor], samples: Samples, seed: int) -> SpectrumEnds:
    """Return the largest and the smallest eigenvalue of the Hessian of the mean cross-entropy, by all parameters.

    Parameters
    ----------
    model
        What is computed.
    weights
        All its parameters by name, as leaves.
    samples
        What the loss is the mean over; one batch.
    seed
        Of Lanczos' start.

    Notes
    -----
    Costs one gradient, and about one more per product; 10 to 25 products.
    """
    leaves = list(weights.values())
    sizes = [each.numel() for each in leaves]
    gradients = torch.autograd.grad(_loss(model, weights, samples), leaves, create_graph=True)

    def product(block: Tensor) -> Tensor:
        columns = []
        for vector in block.T:
            parts = [part.view_as(leaf) for part, leaf in zip(vector.split(sizes), leaves, strict=True)]
            found = torch.autograd.grad(gradients, leaves, parts, retain_graph=True)
            columns.append(torch.cat([each.flatten() for each in found]))
        return torch.stack(columns, dim=1)

    return block_lanczos(
        LinearOperator(product, sum(sizes), dtype=leaves[0].dtype, device=leaves[0].device),
        largest=1,
        smallest=1,
        generator=torch.Generator().manual_seed(seed),
        tolerance=TOLERANCE,
        negligible=NEGLIGIBLE,
        max_basis=min(MAX_BASIS, sum(sizes)),
    )


def non_convexity(ends: SpectrumEnds) -> float | None:
    """Return |min(λ_min, 0)| / λ_max, 0 where the loss is convex; None where they have not been found."""
    largest, smallest = float(ends.largest.values[0]), float(ends.smallest.values[0])
    return max(-smallest, 0.0) / largest if ends.status == "ok" and largest > 0 else None


def non_convexities(
    model: nn.Module, directions: Sequence[Direction], samples: Samples, points: int, radius: float, seed: int
) -> NDArray[np.float64] | None:
    """Return the above on an even grid over the plane, [points, points]; None where one of them is missing."""
    found = [
        non_convexity(hessian_ends(model, moved(model, directions, place), samples, seed))
        for place in _grid(points, radius)
    ]
    known = [each for each in found if each is not None]
    return np.reshape(known, (points, points)) if len(known) == len(found) else None


def _grid(points: int, radius: float) -> list[tuple[float, float]]:
    places = np.linspace(-radius, radius, points).tolist()
    return [(a, b) for a in places for b in places]


def _loss(model: nn.Module, weights: Mapping[str, Tensor], samples: Samples) -> Tensor:
    outputs: Tensor = functional_call(model, dict(weights), (samples.inputs,))
    return functional.cross_entropy(outputs, samples.targets)
