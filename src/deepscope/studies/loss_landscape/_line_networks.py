"""The networks whose lines are measured, and the same network with its hidden units in another order."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import MLP

Weights = Mapping[str, Tensor]


def perceptron(
    n_inputs: int, depth: int, width: int, n_classes: int, *, batch_norm: bool = False, generator: torch.Generator
) -> nn.Sequential:
    """Return a rectifier network whose layers keep the mean square of what passes through them.

    Weights are normal with variance 2/n where the n inputs of a layer come from rectifiers and 1/n where they do not
    (``he2015delving``, without its simplification that the first layer has 2/n as well); biases are 0.

    Parameters
    ----------
    n_inputs
        Numbers per sample; standardised ones for the above to hold.
    depth, width
        Number of hidden layers, and of units in each; no layers for softmax regression.
    n_classes
        Number of outputs.
    batch_norm
        Normalise each hidden layer before its rectifier (``ioffe2015batch``), always by the statistics of the batch at
        hand: none are carried from one point in weight space to another.
    generator
        What the weights are drawn from.

    Raises
    ------
    UsageError
        A negative depth, or a width below 1.

    Examples
    --------
    >>> model = perceptron(64, 2, 100, 10, batch_norm=True, generator=torch.Generator().manual_seed(0))
    >>> [name for name, _ in model.named_children()]
    ['flatten', 'hidden1', 'norm1', 'activation1', 'hidden2', 'norm2', 'activation2', 'output']
    """
    if depth < 0:
        raise UsageError(f"the number of hidden layers is {depth}", where="depth", todo="Give 0 or more.")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in MLP(n_inputs, [width] * depth, n_classes).named_children():
        layers[name] = layer
        if isinstance(layer, nn.Linear):
            gain = 1 if layer is layers.get("hidden1") or not depth else 2
            nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features), generator=generator)
            nn.init.zeros_(layer.bias)
        if batch_norm and name.startswith("hidden"):
            layers[name.replace("hidden", "norm")] = nn.BatchNorm1d(width, track_running_stats=False)
    return nn.Sequential(layers)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def reordered(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the weights of the same function with the units of each hidden layer in a random order.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> model, x = perceptron(4, 2, 8, 3, generator=generator), torch.randn(5, 4, generator=generator)
    >>> other = reordered(weights_of(model), generator)
    >>> torch.allclose(torch.func.functional_call(model, other, (x,)), model(x), atol=1e-6)
    True
    """
    found, layer = dict(weights), 1
    while f"hidden{layer}.weight" in found:
        order = torch.randperm(len(found[f"hidden{layer}.weight"]), generator=generator)
        for name, value in found.items():
            if name.startswith((f"hidden{layer}.", f"norm{layer}.")):
                found[name] = value[order.to(value.device)]
        following = f"hidden{layer + 1}.weight" if f"hidden{layer + 1}.weight" in found else "output.weight"
        found[following] = found[following][:, order.to(found[following].device)]
        layer += 1
    return found
