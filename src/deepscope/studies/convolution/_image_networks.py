"""Networks for small images that differ in what they share: convolutional, locally connected, fully connected."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError, nearest
from deepscope.studies.convolution._locally_connected import LocallyConnected

NETWORKS = ("cnn", "unshared", "local", "mlp")
POOLINGS = ("max", "average", "subsampling", "overlapping", "strided")
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
#: Channels of the convolutions.
FIRST, SECOND = 8, 16


def image_network(
    network: str, side: int, n_classes: int, *, pooling: str = "max", activation: str = "relu"
) -> nn.Sequential:
    """Return a network from images [batch, 1, side, side] to logits [batch, n_classes], initialised as torch does.

    Parameters
    ----------
    network
        ``"cnn"``: two convolutions of 3×3, padded with zeros, of 8 and 16 channels, each with its pooling, and a linear
        layer. ``"unshared"``: the same connections, with weights of their own at each place (max pooling only).
        ``"local"``: one locally connected layer of 3×3 with stride 2, and a linear layer. ``"mlp"``: one hidden layer.
        The latter two have the fewest channels or units with which they have as many parameters as the convolutional
        one, or more.
    side
        Height and width.
    n_classes
        Number of classes.
    pooling
        ``"max"``, ``"average"`` or ``"subsampling"`` (see ``Subsampling``) over windows of 2×2; ``"overlapping"``: the
        maximum over windows of 3×3 with stride 2. ``"strided"``: none, the convolutions have stride 2. All leave
        ⌈side/2⌉ and have the same parameters, but for the 48 of subsampling.
    activation
        ``"relu"`` or ``"tanh"``.

    Raises
    ------
    UsageError
        An unknown network, pooling or activation, or a pooling that the network does not have.

    Examples
    --------
    >>> {each: n_parameters(image_network(each, 14, 10)) for each in NETWORKS}
    {'cnn': 3818, 'unshared': 75482, 'local': 3930, 'mlp': 3943}
    """
    for name, known in ((network, NETWORKS), (pooling, POOLINGS), (activation, tuple(ACTIVATIONS))):
        if name not in known:
            raise UsageError("there is no such part of a network", where=name, todo=nearest(name, known))
    if pooling != "max" and network != "cnn":
        raise UsageError("only the convolutional network has this pooling", where=pooling, todo='Give pooling="max".')
    active = ACTIVATIONS[activation]
    if network in ("mlp", "local"):
        return _of_equal_size(network, side, n_classes, active)
    places = _half(_half(side)) ** 2
    layers: list[nn.Module] = []
    for inputs, outputs, here in ((1, FIRST, side), (FIRST, SECOND, _half(side))):
        if network == "unshared":
            layers.append(LocallyConnected(inputs, outputs, here))
        else:
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=2 if pooling == "strided" else 1, padding=1))
        layers += [active(), *_pooled(pooling, outputs, active)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(SECOND * places, n_classes))


def n_parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(each.numel() for each in network.parameters())


@final
class Subsampling(nn.Module):
    """x ↦ a · (mean over a window of 2×2) + b, with a factor a, first 1, and an offset b, first 0, per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to maps [batch, channels, side, side]."""
        return self.factor * functional.avg_pool2d(x, 2, ceil_mode=True) + self.offset


def _pooled(pooling: str, channels: int, active: type[nn.Module]) -> list[nn.Module]:
    # A window that reaches beyond the border of an odd side takes what there is.
    layers: dict[str, list[nn.Module]] = {
        "max": [nn.MaxPool2d(2, ceil_mode=True)],
        "average": [nn.AvgPool2d(2, ceil_mode=True)],
        "subsampling": [Subsampling(channels), active()],
        "overlapping": [nn.MaxPool2d(3, stride=2, padding=1)],
        "strided": [],
    }
    return layers[pooling]


def _of_equal_size(network: str, side: int, n_classes: int, active: type[nn.Module]) -> nn.Sequential:
    wanted = n_parameters(image_network("cnn", side, n_classes)) - n_classes
    if network == "mlp":
        hidden = math.ceil(wanted / (side**2 + 1 + n_classes))
        return nn.Sequential(nn.Flatten(), nn.Linear(side**2, hidden), active(), nn.Linear(hidden, n_classes))
    places = _half(side) ** 2
    channels = math.ceil(wanted / (places * (9 + 1 + n_classes)))
    layer = LocallyConnected(1, channels, side, stride=2)
    return nn.Sequential(layer, active(), nn.Flatten(), nn.Linear(channels * places, n_classes))


def _half(side: int) -> int:
    return -(-side // 2)
