"""The branch of residual networks with pre-activation."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from deepscope.models._shortcut import convolution


def residual_branch(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Return normalisation, ReLU and convolution of 3×3, twice, of which the first convolution has the stride.

    Source: ``he2016identity``.
    """
    return nn.Sequential(
        OrderedDict(
            normalisation1=nn.BatchNorm2d(in_channels),
            activation1=nn.ReLU(),
            convolution1=convolution(in_channels, out_channels, 3, stride),
            normalisation2=nn.BatchNorm2d(out_channels),
            activation2=nn.ReLU(),
            convolution2=convolution(out_channels, out_channels, 3),
        )
    )
