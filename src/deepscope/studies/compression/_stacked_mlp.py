"""Perceptrons of one shape, computed and trained at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from deepscope.models import MLP


@final
class StackedMLP(nn.Module):
    """Perceptrons with rectified units side by side, as one module with weights [networks, outputs, inputs].

    Maps inputs [samples, …], the same for all, to [networks, samples, outputs]. Optimisers that act on each weight by
    itself train its networks by the sum of their losses as they would one by one: no weight has a gradient of another
    network's loss.

    Parameters
    ----------
    models
        Of one shape; their weights are copied.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> models, x = [MLP(4, [3], 2) for _ in range(5)], torch.randn(7, 4)
    >>> torch.allclose(StackedMLP(models)(x), torch.stack([model(x) for model in models]), atol=1e-6)
    True
    """

    def __init__(self, models: Sequence[MLP]) -> None:
        super().__init__()
        layers = [[layer for layer in model if isinstance(layer, nn.Linear)] for model in models]
        by_depth = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList(torch.stack([each.weight.detach() for each in one]) for one in by_depth)
        self.biases = nn.ParameterList(torch.stack([each.bias.detach() for each in one]) for one in by_depth)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, [networks, samples, outputs]."""
        h = x.flatten(1).expand(len(self.weights[0]), -1, -1)
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias[:, None], torch.relu(h) if depth else h, weight.mT)
        return h
