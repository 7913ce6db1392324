"""Losses along a straight line in weight space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.data import Samples
from deepscope.studies.loss_landscape._line_networks import Weights

Floats = NDArray[np.float64]


def losses_along(model: nn.Module, start: Weights, end: Weights, samples: Samples, points: int) -> Floats:
    """Return the mean cross-entropy at (1 − t) start + t end, at equal steps of t from 0 to 1, both included.

    All samples are one batch, so that batch norm's statistics are those of all samples at each point.

    Parameters
    ----------
    model
        Of which the weights are; it stays as it is.
    start, end
        Every parameter by name.
    samples
        What the loss is the mean over.
    points
        How many points, at least 2.

    Returns
    -------
    Array
        [points], in nats.

    Raises
    ------
    UsageError
        Fewer than 2 points.

    Notes
    -----
    Costs one forward pass over the samples per point.
    """
    if points < 2:
        raise UsageError(f"a line of {points} points is asked for", where="points", todo="Give at least 2.")
    found = []
    with torch.no_grad():
        for share in np.linspace(0, 1, points):
            # Exact at both ends, unlike a sum of two products.
            weights = {name: torch.lerp(value, end[name], float(share)) for name, value in start.items()}
            outputs: Any = functional_call(model, weights, (samples.inputs,))
            found.append(functional.cross_entropy(outputs, samples.targets).item())
    return np.array(found)
