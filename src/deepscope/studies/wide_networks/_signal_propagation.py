"""What becomes of variances, correlations and small perturbations on their way through deep random networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError, nearest

Floats = NDArray[np.float64]

#: Correlation between the inputs of the first and of the second set.
STARTS = (0.0, 0.5)
#: Where the difference between two correlations is this large, it does not yet fall exponentially.
LARGEST = 0.3
#: Below so many standard errors a difference is noise, below SMALLEST rounding.
STANDARD_ERRORS = 3.0
SMALLEST = 1e-6
FEWEST_LAYERS = 3

#: φ and, of φ(h), its slope φ′(h).
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh, lambda h, out: 1 - out.square()),
    "erf": (torch.erf, lambda h, out: 2 / math.sqrt(math.pi) * torch.exp(-h.square())),
    "identity": (lambda h: h, lambda h, out: torch.ones_like(h)),
}


def signal_trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Send two sets of inputs, and a perturbation of one of them, through random networks.

    Returns
    -------
    dict
        ``variances``: mean square of a network's preactivations, the mean of its last two thirds of layers,
        [networks]. ``growth``: factor by which the perturbation's mean square grows per layer, the mean over these
        layers and the networks. ``correlation``: the mean over the last third of the layers, both sets and all
        networks. ``correlation_depth``: what ``decay_depth`` makes of the difference between the sets.
        ``apart`` and ``alike``: the correlation within either set by layer, mean over networks, [depth + 1].
    """
    if case.activation not in ACTIVATIONS:
        raise UsageError("unknown activation", where=case.activation, todo=nearest(case.activation, ACTIVATIONS))
    variances, distances, growths = propagate(case, run.generator, run.device)
    settled, last = case.depth // 3 + 1, case.depth - case.depth // 3 + 1
    difference = distances[:, 0] - distances[:, 1]
    error = difference.std(axis=1, ddof=1) / math.sqrt(case.networks)
    means = 1 - distances.mean(axis=2)
    return {
        "variances": variances[settled:].mean(axis=0),
        "growth": float(growths[settled - 1 :].mean()),
        "correlation": float(means[last:].mean()),
        "correlation_depth": decay_depth(difference.mean(axis=1), error),
        "apart": means[:, 0],
        "alike": means[:, 1],
    }


def propagate(case: Case, generator: torch.Generator, device: torch.device) -> tuple[Floats, Floats, Floats]:
    """Return by layer and network the mean square, 1 − the correlation of either set, and the perturbation's growth.

    In the first layer preactivations are normal, of variance 1, and correlate as the inputs do. From there on
    h′ = W φ(h) + b, with fresh W and b of variances σ_w²/width and σ_b².

    Parameters
    ----------
    case
        ``activation``, ``width``, ``networks``, ``inputs`` (of each set), ``depth``, ``weight_variance``,
        ``bias_variance``.
    generator
        On the CPU; draws inputs, perturbation, weights and biases.
    device
        Where it is computed, in float32.

    Returns
    -------
    variances, distances, growths
        [depth + 1, networks], [depth + 1, 2, networks], [depth, networks].

    Notes
    -----
    Cost: a matrix of width² random numbers and 2·width²·(2·inputs + 1) operations per network and layer. 1 − c is the
    mean squared deviation of normalised preactivations from their mean, so that it loses no digits where c is near 1.
    """
    networks, width = case.networks, case.width
    phi, slope_of = ACTIVATIONS[case.activation]

    def normal(*shape: int, variance: float = 1.0) -> Tensor:
        drawn = torch.randn(networks, *shape, generator=generator) * math.sqrt(variance)
        return drawn.to(device)

    sets = [math.sqrt(start) * normal(width, 1) + math.sqrt(1 - start) * normal(width, case.inputs) for start in STARTS]
    h, perturbation = torch.cat(sets, dim=2), normal(width, 1)
    variances, distances, growths = [], [], []
    for layer in range(case.depth + 1):
        variances.append(_array(h.square().mean(dim=(1, 2))))
        distances.append([_array(_distance(part)) for part in (h[:, :, : case.inputs], h[:, :, case.inputs :])])
        if layer == case.depth:
            break
        out = phi(h)
        moved = slope_of(h[:, :, :1], out[:, :, :1]) * perturbation
        both = normal(width, width, variance=case.weight_variance / width) @ torch.cat([out, moved], dim=2)
        h = both[:, :, :-1] + normal(width, 1, variance=case.bias_variance)
        growth = both[:, :, -1:].square().sum(dim=1, keepdim=True) / perturbation.square().sum(dim=1, keepdim=True)
        growths.append(_array(growth.ravel()))
        perturbation = both[:, :, -1:] / growth.sqrt()
    return np.array(variances), np.array(distances), np.array(growths)


def _distance(h: Tensor) -> Tensor:
    """Return 1 − the mean correlation between the columns of [networks, width, inputs]: [networks]."""
    unit = h / h.square().mean(dim=1, keepdim=True).sqrt()
    deviation = unit - unit.mean(dim=2, keepdim=True)
    return deviation.square().sum(dim=(1, 2)) / (h.shape[1] * (h.shape[2] - 1))


def _array(values: Tensor) -> Floats:
    found: Floats = values.cpu().double().numpy()
    return found


def decay_depth(difference: Floats, error: Floats) -> float | None:
    """Return the number of layers in which a difference falls to 1/e.

    A line is fitted to its logarithm from the first layer on where it is below 0.3, to before the first where it is
    below 3 standard errors or below 1e-6. Points weigh by the square of value over error, one over their variance.

    Parameters
    ----------
    difference, error
        By layer, and its standard error; [layers].

    Returns
    -------
    float or None
        None where there are fewer than 3 such layers, or it does not fall.

    Examples
    --------
    >>> layers = np.arange(40)
    >>> round(decay_depth(0.5 * np.exp(-layers / 7), np.full(40, 0.001)), 6)
    7.0
    """
    below = np.flatnonzero(difference < LARGEST)
    if not len(below):
        return None
    start = int(below[0])
    noise = np.maximum(STANDARD_ERRORS * error, SMALLEST)
    lost = np.flatnonzero(~(difference[start:] > noise[start:]))
    end = start + int(lost[0]) if len(lost) else len(difference)
    if end - start < FEWEST_LAYERS:
        return None
    kept = difference[start:end]
    slope = float(np.polyfit(np.arange(len(kept)), np.log(kept), 1, w=kept / error[start:end])[0])
    return -1 / slope if slope < 0 else None
