"""A convolution without weight sharing: filters of its own at each place."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional


@final
class LocallyConnected(nn.Module):
    """y[o, p] = b[o, p] + Σ_{c, k} w[p, c k, o] x[c, s p + k]: ``nn.Conv2d``, with its own weights at each place p.

    Parameters
    ----------
    inputs, outputs
        Channels.
    side
        Height and width of the input.
    kernel, stride, padding
        As in ``nn.Conv2d``; padded with zeros.

    Notes
    -----
    [batch, inputs, side, side] to [batch, outputs, places, places]; outputs · places² · (inputs · kernel² + 1)
    parameters, places² times those of the convolution, at as many multiplications. Initialised as ``nn.Conv2d`` is.
    """

    def __init__(
        self, inputs: int, outputs: int, side: int, kernel: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.places = (side + 2 * padding - kernel) // stride + 1
        fan_in = inputs * kernel**2
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(self.places**2, fan_in, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(self.places**2, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each place's filters to its patch."""
        return self.of_patches(functional.unfold(x, self.kernel, padding=self.padding, stride=self.stride))

    def of_patches(self, patches: Tensor) -> Tensor:
        """Apply each place's filters to the patches that ``unfold`` cut out, [batch, inputs · kernel², places²]."""
        out = torch.baddbmm(self.bias, patches.permute(2, 0, 1), self.weight)
        return out.permute(1, 2, 0).reshape(patches.shape[0], -1, self.places, self.places)
