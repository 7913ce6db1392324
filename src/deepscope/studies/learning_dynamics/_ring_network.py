"""A wide layer of rectifiers on points of the circle: its tangent kernel, and its training.

f(x) = (c/√m) Σᵢ aᵢ max(wᵢ·x + bᵢ, 0), of which w and b are trained, from b = 0, and the signs a stay
(``basri2019convergence``). The kernel of the first step is c² (x·x′ + 1) times the share of units that are active at
both points, without the 1 where there are no b.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

LEARNT = 0.05


@dataclass(frozen=True, eq=False)
class RingNetwork:
    """The network at its start; each direction occurs twice, with opposite signs, so that f = 0.

    Attributes
    ----------
    inputs
        [points, features].
    directions
        [units, features], w, of length 1.
    signs
        [units], a.
    scale
        c.
    bias
        Whether it has b.
    """

    inputs: Floats
    directions: Floats
    signs: Floats
    scale: float
    bias: bool

    @property
    def kernel(self) -> Floats:
        """The tangent kernel over c², [points, points]."""
        active = (self.inputs @ self.directions.T > 0).astype(np.float64)
        shared: Floats = (self.inputs @ self.inputs.T + self.bias) * (active @ active.T) / len(self.signs)
        return shared


def even_directions(units: int, offset: float) -> Floats:
    """Return unit vectors at equal angles, [units, 2], turned by a part of that angle.

    A multiple of the number of points makes the kernel circulant, and symmetric under x → −x.
    """
    return circle(2 * math.pi * (np.arange(units) + offset) / units)


def random_directions(rng: np.random.Generator, units: int, features: int) -> Floats:
    """Return random unit vectors, [units, features]."""
    drawn = rng.standard_normal((units, features))
    found: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def circle(angles: Floats) -> Floats:
    """Return points of the unit circle, [angles, 2]."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def fourier_features(angles: Floats, highest: int) -> Floats:
    """Return cos jθ and sin jθ for j = 1 … highest, as unit vectors, [angles, 2·highest]."""
    multiples = angles[:, None] * np.arange(1, highest + 1)
    return np.concatenate([np.cos(multiples), np.sin(multiples)], axis=1) / math.sqrt(highest)


def mirrored(inputs: Floats, directions: Floats, *, scale: float, bias: bool) -> RingNetwork:
    """Return the network of these directions, each with both signs."""
    signs = np.repeat([1.0, -1.0], len(directions))
    return RingNetwork(inputs, np.concatenate([directions, directions]), signs, scale, bias)


def theoretical_steps(rates: Floats) -> Floats:
    """Return ln(1/0.05)/−ln(1 − r): steps until (1 − r)ᵗ is 0.05, ∞ where r is 0 but for rounding."""
    safe = np.where(rates > np.finfo(np.float64).eps * len(rates), rates, np.nan)
    return np.nan_to_num(math.log(LEARNT) / np.log1p(-safe), nan=math.inf)


def residuals(network: RingNetwork, target: Floats, rate: float, most: int, device: torch.device) -> Floats:
    """Train by gradient descent on ½|f − y|² until |f − y| is 0.05 |y|, and return |f − y|/|y| before each step.

    Parameters
    ----------
    network
        Where it starts; it is not changed.
    target
        y, [points].
    rate
        Learning rate times c².
    most
        Steps after which training ends in any case.
    device
        Where to compute.

    Returns
    -------
    Array
        [steps + 1], the last after the last step.
    """
    inputs, weights, target_, signs = (
        torch.from_numpy(each).to(device) for each in (network.inputs, network.directions, target, network.signs)
    )
    outgoing = signs * (network.scale / math.sqrt(len(signs)))
    weights, biases = weights.clone(), torch.zeros_like(signs)
    step, size = rate / network.scale**2, float(target_.norm())
    found: list[float] = []
    while True:
        before = torch.addmm(biases, inputs, weights.T)
        error = before.clamp(min=0) @ outgoing - target_
        found.append(float(error.norm()) / size)
        if found[-1] <= LEARNT or len(found) > most:
            return np.array(found)
        slope: Tensor = (before > 0) * torch.outer(error, outgoing)
        weights.addmm_(slope.T, inputs, alpha=-step)
        if network.bias:
            biases.sub_(slope.sum(dim=0), alpha=step)
