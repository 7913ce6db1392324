"""How fast weight decay acts on weights that see nothing but noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.studies.optimisation._decay_training import METHODS

#: Root mean squares of the gradient, one for each group of weights.
SCALES = tuple(2.0**power for power in range(-3, 4))


def decay_rates(
    method: str, *, steps: int, n_weights: int, learning_rate: float, decay: float, generator: torch.Generator
) -> NDArray[np.float64]:
    """Return the rate r at which weights decay as exp(−η r t) under gradients N(0, s²), for each s of ``SCALES``.

    Weights stand in pairs that see the same noise and start at 1 and −1: their distance is free of the random walk that
    both make. r = −ln(mean distance at the end / 2)/(η · steps). AdamW: (1 − ηλ) a step whatever the noise, so that
    r = −ln(1 − ηλ)/η = λ + O(ηλ²). Adam with the decay in the gradient: the update is divided by √(s² + λ²θ²), so that
    r ≈ λ/s. Without decay r = 0.

    Cost: steps · n_weights · 7 random numbers and updates, in float64.
    """
    half = n_weights // 2
    groups = [torch.cat([torch.ones(half), -torch.ones(half)]).double() for _ in SCALES]
    for weights in groups:
        weights.grad = torch.zeros_like(weights)
    make, _ = METHODS[method]
    optimizer = make([{"params": [each]} for each in groups], lr=learning_rate, weight_decay=decay, fused=True)  # type: ignore[call-arg]
    for _ in range(steps):
        noise = torch.randn(len(SCALES), half, dtype=torch.float64, generator=generator)
        for scale, weights, drawn in zip(SCALES, groups, noise, strict=True):
            assert weights.grad is not None
            weights.grad.copy_(_pairs(scale * drawn))
        optimizer.step()
    left = torch.stack([(each[:half] - each[half:]).mean() / 2 for each in groups])
    return (-torch.log(left) / (learning_rate * steps)).numpy()


def _pairs(noise: Tensor) -> Tensor:
    return torch.cat([noise, noise])


def slope(rates: NDArray[np.float64]) -> float | None:
    """Return the slope of log r in log s by least squares; None where a rate is not above 0.

    Examples
    --------
    >>> round(slope(1 / np.array(SCALES)), 6), slope(np.zeros(len(SCALES)))
    (-1.0, None)
    """
    if not (rates > 0).all():
        return None
    found: float = np.polyfit([math.log(scale) for scale in SCALES], np.log(rates), 1)[0]
    return float(found)
