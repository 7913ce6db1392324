"""Perceptrons with batch normalisation, with noise behind it, and with its scale and shift alone."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest
from deepscope.models import MLP

ARMS = ("plain", "affine", "batch norm", "noisy")


class ScaleShift(nn.Module):
    """γ x + β with a γ, at first 1, and a β, at first 0, for each feature: what is left of a norm without its norm.

    Examples
    --------
    >>> ScaleShift(3)(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return γ x + β."""
        return x * self.scale + self.shift


def normalised_network(
    n_inputs: int, depth: int, width: int, n_classes: int, *, activation: str, arm: str, generator: torch.Generator
) -> nn.Sequential:
    """Return a perceptron whose hidden layers are followed, before their activation, by what an arm says.

    Weights are normal with variance 2/n behind rectifiers, n the inputs of a layer (``he2015delving``), and 1/n
    elsewhere; biases are 0. All arms of one state of the generator have the same weights.

    Parameters
    ----------
    n_inputs, depth, width, n_classes
        Numbers of inputs, of hidden layers, of units in each, and of outputs.
    activation
        As ``MLP`` takes it.
    arm
        ``"plain"``: nothing follows; ``"affine"``: a scale and a shift for each feature (``ScaleShift``), called
        ``affine1`` …; ``"batch norm"``: batch normalisation by the statistics of the batch at hand, called ``norm1`` …;
        ``"noisy"``: batch normalisation, and behind it a ``ScaleShift`` called ``noise1`` …, which ``draw_noise`` sets.

    Raises
    ------
    UsageError
        An unknown arm, and what ``MLP`` refuses.

    Examples
    --------
    >>> model = normalised_network(
    ...     4, 1, 3, 2, activation="relu", arm="noisy", generator=torch.Generator().manual_seed(0)
    ... )
    >>> [name for name, _ in model.named_children()]
    ['flatten', 'hidden1', 'norm1', 'noise1', 'activation1', 'output']
    """
    if arm not in ARMS:
        raise UsageError("unknown arm", where=arm, todo=nearest(arm, ARMS))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in MLP(n_inputs, [width] * depth, n_classes, activation=activation).named_children():
        layers[name] = layer
        if not isinstance(layer, nn.Linear):
            continue
        gain = 2 if activation == "relu" and name != "hidden1" else 1
        nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features), generator=generator)
        nn.init.zeros_(layer.bias)
        number = name.removeprefix("hidden")
        if number == name:
            continue
        if arm in ("batch norm", "noisy"):
            layers[f"norm{number}"] = nn.BatchNorm1d(width, track_running_stats=False)
        if arm in ("affine", "noisy"):
            layers[f"{'affine' if arm == 'affine' else 'noise'}{number}"] = ScaleShift(width)
    return nn.Sequential(layers)


@torch.no_grad()
def draw_noise(parameters: Mapping[str, Tensor], generator: torch.Generator) -> None:
    """Set the scales of all ``noise`` layers to U(0.75, 1.25) and their shifts to U(−0.5, 0.5), one for each feature.

    Parameters of one network [features], or of many side by side [networks, features], which share their noise.
    """
    for name, value in _noise(parameters):
        drawn = torch.rand(value.shape[-1], generator=generator).to(value.device)
        value.copy_((0.75 + 0.5 * drawn if name.endswith("scale") else drawn - 0.5).expand_as(value))


@torch.no_grad()
def still_noise(parameters: Mapping[str, Tensor]) -> None:
    """Set the scales of all ``noise`` layers to 1 and their shifts to 0."""
    for name, value in _noise(parameters):
        value.fill_(1.0 if name.endswith("scale") else 0.0)


def _noise(parameters: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in parameters.items() if name.startswith("noise")]


def trained_names(parameters: Mapping[str, Tensor]) -> list[str]:
    """Return the names of what training changes: all but the noise."""
    return [name for name in parameters if not name.startswith("noise")]
