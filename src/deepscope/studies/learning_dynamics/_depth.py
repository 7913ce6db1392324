"""How many steps a deep linear network needs to learn, at the best of many learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from deepscope.studies.learning_dynamics._linear_network import Floats, descend, parameter

DEEP_OUTPUTS = 4
#: From here on theory's slope of log steps against log depth is small; nearer to one layer it is not.
FEWEST_LAYERS = 16
#: Singular values of what deep networks learn: around 1, what an orthogonal network starts with.
DEEP_VALUES = (0.5, 1.5)
#: Learning rates that are tried, times the depth. The best of an orthogonal network is near 0.8 at any depth, so that a
#: fine grid around it tells steps to a few percent. The best of a Gaussian one falls with depth, and its steps grow by
#: far more than a coarse grid is wrong by.
RATES = {
    "orthogonal": tuple(2.0 ** (power / 8) for power in range(-8, 5)),
    "gaussian": tuple(2.0 ** (power / 2) for power in range(-8, 0)),
}
#: A network has learnt when this part of |Σ|² is left.
LEARNT = 1e-3


def deep_correlation(rng: np.random.Generator, width: int) -> Floats:
    """Draw Σ with 4 outputs, singular values 0.5 to 1.5 in even steps, in random directions, [4, width]."""
    left = np.linalg.qr(rng.standard_normal((DEEP_OUTPUTS, DEEP_OUTPUTS))).Q
    right = np.linalg.qr(rng.standard_normal((width, DEEP_OUTPUTS))).Q
    found: Floats = left * np.linspace(*DEEP_VALUES, DEEP_OUTPUTS) @ right.T
    return found


def deep_weights(rng: np.random.Generator, depth: int, width: int, start: str) -> list[Floats]:
    """Draw the layers of a network, first layer first: ``"orthogonal"`` or ``"gaussian"``.

    All are [width, width] but the last, [4, width]. Orthogonal ones are uniformly distributed, the last has orthonormal
    rows; Gaussian ones have variance 1/width, which keeps the mean square of what passes through.
    """
    drawn = rng.standard_normal((depth, width, width))
    layers = [_orthogonal(each) for each in drawn] if start == "orthogonal" else list(drawn / math.sqrt(width))
    return [*layers[:-1], layers[-1][:DEEP_OUTPUTS]]


def _orthogonal(gaussian: Floats) -> Floats:
    q, r = np.linalg.qr(gaussian)
    # Without the signs of R, Q would not be uniformly distributed.
    found: Floats = q * np.sign(np.diag(r))
    return found


def steps_to_learn(
    weights: list[Floats], correlation: Floats, rates_times_depth: Sequence[float], *, most: int, device: Any = None
) -> tuple[float, float] | None:
    """Return how many steps the fastest learning rate needs, and this rate times the depth.

    Networks with the same initial weights are trained side by side, one for each rate, until the first has learnt.

    Parameters
    ----------
    weights
        Initial weights, first layer first, each [out, in].
    correlation
        Σ of whitened inputs and outputs, [outputs, inputs].
    rates_times_depth
        Learning rates that are tried, times the number of layers.
    most
        Largest number of steps.

    Returns
    -------
    steps, rate × depth
        Steps until 0.001 of |Σ|² is left, between two steps on a straight line of the logarithm; None if that takes
        more than ``most``.

    Notes
    -----
    Cost of a step: about 6 × rates × depth × outputs × width² operations.
    """
    rates = torch.tensor(rates_times_depth, dtype=torch.float64, device=device)[:, None, None] / len(weights)
    layers = [parameter(np.tile(weight, (len(rates), 1, 1)), device) for weight in weights]
    target = torch.from_numpy(correlation).to(device)
    before = np.full(len(rates), np.inf)
    for step in range(most + 1):
        made = descend(layers, target, rates)
        left = ((made - target).square().sum(dim=(1, 2)) / target.square().sum()).cpu().numpy()
        # Of a rate that is too large nothing finite is left; comparisons with it are False.
        learnt = np.flatnonzero(left <= LEARNT)
        if len(learnt):
            part = np.log(before[learnt] / LEARNT) / np.log(before[learnt] / left[learnt])
            first = int(np.argmin(part))
            return step - 1 + float(part[first]), rates_times_depth[learnt[first]]
        before = left
    return None
