"""Deep linear networks under full-batch gradient descent, many of them at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def network_map(layers: Sequence[Tensor]) -> Tensor:
    """Return W_L ⋯ W₁ of layers [networks, out, in].

    Multiplied from the output's side, which is the narrow one in a deep network: outputs × width² a layer.
    """
    found = layers[-1]
    for layer in reversed(layers[:-1]):
        found = found @ layer
    return found


def descend(layers: Sequence[Tensor], correlation: Tensor, rate: float | Tensor) -> Tensor:
    """Take one step of full-batch gradient descent, in place, by back-propagation.

    On samples (x, y) whose inputs are whitened, mean x xᵀ = I, half the mean squared error is a constant plus
    ½ |W_L ⋯ W₁ − Σ|², where Σ = mean y xᵀ: the samples act through Σ alone. This is what is differentiated.

    Parameters
    ----------
    layers
        Weights, each [networks, out, in], that require gradients. Networks do not act on each other.
    correlation
        Σ, [networks, outputs, inputs].
    rate
        Learning rate: one number, or one of each network as [networks, 1, 1].

    Returns
    -------
    Tensor
        The networks' maps before the step, [networks, outputs, inputs].
    """
    made = network_map(layers)
    # The map of a single layer is its weight, which the step changes.
    before = made.detach().clone()
    gradients = torch.autograd.grad(0.5 * (made - correlation).square().sum(), layers)
    with torch.no_grad():
        for layer, gradient in zip(layers, gradients, strict=True):
            layer -= rate * gradient
    return before


def train(
    weights: Sequence[Floats],
    correlation: Floats,
    *,
    rate: float,
    duration: float,
    every: int,
    record: Callable[[Floats], Floats] = np.asarray,
    device: Any = None,
) -> tuple[Floats, Floats]:
    """Train networks and record their maps, or what is wanted of them.

    Parameters
    ----------
    weights
        Initial weights, first layer first, each [networks, out, in]. Not changed.
    correlation
        Σ of whitened inputs and outputs, [networks, outputs, inputs].
    rate
        Learning rate. Time is counted in units of τ = 1/rate steps.
    duration
        How long to train, in units of τ.
    every
        Steps between two records.
    record
        What is kept, an array, of the networks' maps W_L ⋯ W₁, [networks, outputs, inputs]; the maps if not given. Only
        this stays in memory.

    Returns
    -------
    times, records
        [records], and what was kept at these times, [records, …].
    """
    layers = [parameter(weight, device) for weight in weights]
    target = torch.from_numpy(correlation).to(device)
    kept = []
    steps = round(duration / rate)
    for step in range(steps + 1):
        before = descend(layers, target, rate)
        if step % every == 0:
            kept.append(record(before.cpu().numpy()))
    times: Floats = rate * every * np.arange(len(kept), dtype=np.float64)
    return times, np.stack(kept)


def parameter(weight: Floats, device: Any = None) -> Tensor:
    """Return a copy as a tensor that requires gradients."""
    return torch.tensor(weight, device=device, requires_grad=True)


def random_weights(rng: np.random.Generator, widths: Sequence[int], networks: int, scale: float | None) -> list[Floats]:
    """Draw Gaussian weights, first layer first, each [networks, out, in].

    ``scale`` is their standard deviation; without one it is 1/√in, which keeps the mean square of what passes through.
    """
    return [
        rng.standard_normal((networks, out, into)) * (1 / math.sqrt(into) if scale is None else scale)
        for into, out in itertools.pairwise(widths)
    ]
