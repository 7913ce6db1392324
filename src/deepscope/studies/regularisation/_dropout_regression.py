"""Linear regression whose inputs are dropped, against least squares with penalties."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.subject import seeded_generators
from deepscope.training import Dropout

#: Root mean squares of the features, and the weight of what they have in common.
SCALES = tuple(2.0**power for power in (-2, -1, 0, 1, 2, -2, -1, 0, 1, 2))
COMMON = 0.5
#: Masks that are drawn at a time.
CHUNK = 500


def regression(*, n_samples: int, n_masks: int, rate: float, seed: int) -> dict[str, Any]:
    """Return how far ridge and least squares are from the coefficients of regression with dropped inputs.

    The mean of ‖y − (X ∘ m/(1 − p)) w‖² over masks m is ‖y − X w‖² + p/(1 − p) Σⱼ wⱼ² Σᵢ xᵢⱼ²
    (``srivastava2014dropout``, section 9.1): a ridge whose penalty is p/(1 − p) diag(XᵀX). A distance is ‖D^½(w −
    w')‖/‖D^½ w'‖ with w' the coefficients of dropout and D that diagonal, which counts a coefficient by what it
    contributes.

    Returns
    -------
    dict
        ``adaptive``, ``least_squares``, ``identity``: distances of that ridge, of no penalty, and of the best penalty
        λ‖w‖² among 200 from 10⁻⁴ to 10⁴ times the mean of D; ``dropped``: the coefficients of dropout times the roots
        of D/n, and the others' as ``adaptive_coefficients`` and so on.

    Notes
    -----
    The normal equations are summed over the masks of training's ``Dropout``: no descent, no step size. Their entries
    scatter by about 1/√(n_samples · n_masks) of themselves.
    """
    x, y = _data(n_samples, torch.Generator().manual_seed(seed))
    dropped = _dropped(x, y, n_masks, rate, seed)
    gram, moment, diagonal = x.T @ x, x.T @ y, (x.T @ x).diagonal()
    penalties = diagonal.mean() * torch.logspace(-4, 4, 200, dtype=torch.float64)
    ridges = [torch.linalg.solve(gram + penalty * torch.eye(len(gram)), moment) for penalty in penalties]
    found = {
        "adaptive": torch.linalg.solve(gram + rate / (1 - rate) * diagonal.diag(), moment),
        "least_squares": torch.linalg.solve(gram, moment),
        "identity": min(ridges, key=lambda each: distance(each, dropped, diagonal)),
    }
    contribution = (diagonal / n_samples).sqrt()
    return {
        **{name: distance(each, dropped, diagonal) for name, each in found.items()},
        **{f"{name}_coefficients": _numbers(contribution * each) for name, each in found.items()},
        "dropped": _numbers(contribution * dropped),
    }


def distance(coefficients: Tensor, target: Tensor, diagonal: Tensor) -> float:
    """Return ‖D^½(w − w')‖/‖D^½ w'‖.

    Examples
    --------
    >>> distance(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 4.0]))
    2.0
    """
    root = diagonal.sqrt()
    return float((root * (coefficients - target)).norm() / (root * target).norm())


def _data(n_samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return features that share a part, each on its scale and of equal weight, and answers with noise."""
    size = (n_samples, len(SCALES))
    own, common = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in (size, (n_samples, 1)))
    features = (1 - COMMON) ** 0.5 * own + COMMON**0.5 * common
    weights = torch.randn(len(SCALES), dtype=torch.float64, generator=generator)
    noise = torch.randn(n_samples, dtype=torch.float64, generator=generator)
    return features * torch.tensor(SCALES, dtype=torch.float64), features @ weights + noise


def _dropped(x: Tensor, y: Tensor, n_masks: int, rate: float, seed: int) -> Tensor:
    dropout, size = Dropout(rate), x.shape[1]
    gram, moment = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    with seeded_generators(seed):
        for _ in range(n_masks // CHUNK):
            rows = dropout(x.expand(CHUNK, *x.shape)).reshape(-1, size)
            gram += rows.T @ rows
            moment += rows.T @ y.repeat(CHUNK)
    found: Tensor = torch.linalg.solve(gram, moment)
    return found


def _numbers(values: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.numpy()
    return found
