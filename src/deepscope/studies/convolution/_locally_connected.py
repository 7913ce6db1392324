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

    seen: Tensor

    def __init__(
        self, inputs: int, outputs: int, side: int, kernel: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        padded = side + 2 * padding
        self.places = (padded - kernel) // stride + 1
        fan_in = inputs * kernel**2
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.empty(self.places**2, fan_in, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(self.places**2, 1, outputs).uniform_(-bound, bound))
        # Which numbers of a padded image each place sees, [places², fan_in]; float64 counts them exactly.
        numbered = torch.arange(inputs * padded**2, dtype=torch.float64).reshape(1, inputs, padded, padded)
        self.register_buffer("seen", functional.unfold(numbered, kernel, stride=stride)[0].T.long(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each place's filters to its patch."""
        return self.of_padded(functional.pad(x, 4 * (self.padding,)))

    def of_padded(self, x: Tensor) -> Tensor:
        """Apply each place's filters to its patch of images that are padded already."""
        # With images last, each place's patches lie side by side: its product then copies nothing, where those that
        # ``unfold`` cuts out are copied place by place, and a step of training takes nearly twice as long.
        patches = x.flatten(1).T.contiguous().index_select(0, self.seen.flatten()).view(*self.seen.shape, -1)
        out = torch.baddbmm(self.bias.transpose(1, 2), self.weight.transpose(1, 2), patches)
        return out.permute(2, 1, 0).reshape(x.shape[0], -1, self.places, self.places)
