"""Numbers that are said to tell how well a network will do, read off its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.linalg import fit_power_law, gram_eigenvalues, stable_rank


def hidden_weights(model: nn.Sequential) -> list[Tensor]:
    """Return the weight matrices, [out, in], of all linear layers but the last."""
    return [layer.weight.detach() for layer in _linear(model)[:-1]]


def weight_metrics(model: nn.Sequential, initial: Sequence[Tensor]) -> dict[str, float | None]:
    """Return what the literature reads off the weights of a perceptron, whatever it was trained on.

    With λ the eigenvalues of WᵀW of a hidden layer, not divided by its size, and α the exponent of their tail, all are
    means over the hidden layers, so that they do not count layers, but for the path norm. The output layer, of ten
    eigenvalues, has no tail.

    Parameters
    ----------
    model
        Linear layers with rectified units between them.
    initial
        ``hidden_weights`` before training.

    Returns
    -------
    dict
        ``alpha_hat``: α log₁₀ λ_max, and ``alpha``: α (``martin2021predicting``); both None where a layer has no fit.
        ``log_frobenius``: log₁₀ Σλ. ``log_spectral``: log₁₀ λ_max. ``stable_rank``: Σλ/λ_max. ``log_path``:
        ``log_path_norm``. ``log_distance``: log₁₀ of the squared distance from the initial weights, which takes more
        than the weights; None where a layer has not moved.

    Notes
    -----
    Cost: the eigenvalues of each layer's smaller Gram matrix.
    """
    found: dict[str, list[float | None]] = {}
    for weight, start in zip(hidden_weights(model), initial, strict=True):
        for name, value in _of_layer(weight, start).items():
            found.setdefault(name, []).append(value)
    return {**{name: _mean(values) for name, values in found.items()}, "log_path": log_path_norm(model)}


def _of_layer(weight: Tensor, start: Tensor) -> dict[str, float | None]:
    eigenvalues = gram_eigenvalues(weight)
    # Below this an eigenvalue is rounding.
    smallest = max(weight.shape) * float(np.finfo(np.float64).eps) * eigenvalues[-1]
    alpha = fit_power_law(eigenvalues[eigenvalues > smallest]).alpha
    log_spectral = math.log10(eigenvalues[-1])
    moved = float((weight - start).double().square().sum())
    return {
        "alpha_hat": None if alpha is None else alpha * log_spectral,
        "alpha": alpha,
        "log_frobenius": math.log10(eigenvalues.sum()),
        "log_spectral": log_spectral,
        "stable_rank": stable_rank(eigenvalues),
        "log_distance": math.log10(moved) if moved else None,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    # A mean over the layers that have a value would compare different layers of different networks.
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def log_path_norm(model: nn.Sequential) -> float:
    """Return log₁₀ of the sum, over all paths from an input to an output, of the product of the squared weights.

    It is unchanged where a unit's inputs are multiplied by a number and its outputs divided by it, which leaves the
    function of a rectified network as it was. Biases count no path. Source: ``neyshabur2015norm``.
    """
    sums = torch.ones(_linear(model)[0].in_features, dtype=torch.float64)
    for layer in _linear(model):
        sums = layer.weight.detach().cpu().double().square() @ sums
    return math.log10(float(sums.sum()))


def _linear(model: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in model if isinstance(layer, nn.Linear)]
