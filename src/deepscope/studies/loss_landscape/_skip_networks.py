"""Deep rectifier networks that differ in their skip connections alone, and rescaled copies of them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from deepscope.core import UsageError


class TwoLayers(nn.Module):
    """Two layers in the middle of a network: relu(F(h)), or relu(h + s F(h)), with F(h) = W₂ relu(W₁ h + b₁) + b₂.

    Maps [batch, width] to [batch, width].

    Parameters
    ----------
    width
        Number of units.
    scale
        s with a skip connection; None without one.
    """

    def __init__(self, width: int, scale: float | None) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        """Compute the formula."""
        branch = self.second(torch.relu(self.first(h)))
        return torch.relu(branch if self.scale is None else h + self.scale * branch)


def deep_network(
    n_inputs: int, depth: int, width: int, n_classes: int, *, skip: bool, generator: torch.Generator
) -> nn.Sequential:
    """Return a network of so many layers with weights: one at either end, and pairs of them between.

    Weights are normal with variance 1/n in the first layer, 2/n where the n inputs of a layer come from rectifiers
    (``he2015delving``); biases are 0. With and without skip connections they are the same. Of B pairs with skip
    connections (``he2016deep``, without batch norm) each branch counts 1/√B, so that all together add to the mean
    square of what passes through as much as one alone would.

    Parameters
    ----------
    n_inputs
        Numbers per sample; standardised ones for the above to hold.
    depth
        Layers with weights, an even number from 4 on.
    width, n_classes
        Units in each hidden layer, and outputs.
    skip
        Whether pairs have skip connections.
    generator
        What the weights are drawn from.

    Raises
    ------
    UsageError
        A depth that is odd or below 4.

    Examples
    --------
    >>> model = deep_network(64, 34, 32, 10, skip=True, generator=torch.Generator().manual_seed(0))
    >>> sum(isinstance(module, nn.Linear) for module in model.modules()), model[3].scale
    (34, 0.25)
    """
    if depth < 4 or depth % 2:
        raise UsageError(f"a network of {depth} layers", where="depth", todo="Give an even number from 4 on.")
    pairs = (depth - 2) // 2
    scale = 1 / math.sqrt(pairs) if skip else None
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_inputs, width),
        nn.ReLU(),
        *(TwoLayers(width, scale) for _ in range(pairs)),
        nn.Linear(width, n_classes),
    )
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            gain = 1 if layer is model[1] else 2
            nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features), generator=generator)
            nn.init.zeros_(layer.bias)
    return model


def rescaled(model: nn.Sequential, generator: torch.Generator) -> nn.Sequential:
    """Return the same function at another point: in every pair (W₁, b₁) times α, and W₂ divided by it.

    A rectifier lets a positive factor through. Each pair has an α of its own, log-uniform between 2 and 4, or between
    ¼ and ½.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> model = deep_network(4, 6, 8, 3, skip=True, generator=generator).double()
    >>> x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    >>> torch.allclose(rescaled(model, generator)(x), model(x), rtol=1e-12)
    True
    """
    found = copy.deepcopy(model)
    with torch.no_grad():
        for pair in found:
            if isinstance(pair, TwoLayers):
                size, side = torch.rand(2, generator=generator).tolist()
                factor = 2 ** ((1 + size) * (1 if side < 0.5 else -1))
                pair.first.weight.mul_(factor)
                pair.first.bias.mul_(factor)
                pair.second.weight.div_(factor)
    return found
