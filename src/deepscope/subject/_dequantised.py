"""Weights that are stored in 8 bits with scales beside them, read as the numbers that the network uses."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepscope.subject._weight import Weight


@dataclass(frozen=True, kw_only=True)
class Dequantised(Weight):
    """The weight (q − z)·s / d of the quantised values q, read in float32; its dtype and bytes are those of q.

    Attributes
    ----------
    scale, zero_point
        Handles of s and of z, which has its shape; None where nothing is taken off.
    block
        Along each dimension, how many neighbours share a scale.
    divisor
        d: 127 where s is the largest magnitude that int8 stands for.
    """

    scale: Weight = field(repr=False)
    zero_point: Weight | None = field(default=None, repr=False)
    block: tuple[int, ...]
    divisor: float = 1.0

    def read(self) -> Tensor:
        """Return the values, detached, on their own device, in float32: it rounds them by 6e-8, quantising by 4e-3."""
        assert self.quantised is not None
        values = self.quantised.read().to(torch.float32)
        if self.zero_point is not None:
            values -= self._spread(self.zero_point.read().to(values))
        return values.mul_(self._spread(self.scale.read().to(values) / self.divisor))

    def _spread(self, shared: Tensor) -> Tensor:
        """Return numbers that blocks share in a shape that broadcasts over all values."""
        counts = [-(-size // block) for size, block in zip(self.shape, self.block, strict=True)]
        shared = shared.reshape(counts)
        for dim, (size, block) in enumerate(zip(self.shape, self.block, strict=True)):
            if 1 < block < size:
                # The last block may be cut off by the edge.
                shared = shared.repeat_interleave(block, dim).narrow(dim, 0, size)
        return shared
