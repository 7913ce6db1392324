"""A convolution as the linear operator that it is on a periodic grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CirculantMatrices:
    """The matrices of a convolution on a periodic grid, one per frequency and group.

    A convolution of stride 1 commutes with shifts of a periodic grid of n points, so that the Fourier basis makes it
    block-diagonal: at frequency k its block is K̂(k) = Σ_p K[:, :, p] exp(−2πi k·p/n), [rows, cols], and its singular
    values are those of all blocks (``sedghi2019singular``). The kernel is real, so K̂(−k) is the conjugate of K̂(k): the
    two together are the real matrix [[Re, −Im], [Im, Re]], whose singular values are those of both.

    Attributes
    ----------
    kernels
        One kernel per group, [groups, rows, cols, *kernel].
    grid
        Points of the grid along each dimension of the kernel.
    """

    kernels: Tensor
    grid: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frequencies of all groups, rows and cols: those of the complex blocks."""
        groups, rows, cols = self.kernels.shape[:3]
        return groups * math.prod(self.grid), rows, cols

    def __iter__(self) -> Iterator[Tensor]:
        """Yield real matrices in float64, one or two frequencies each, whose singular values are the operator's."""
        for kernel in self.kernels:
            # Made one by one: all frequencies of a wide layer at once would be a hundred times its kernel.
            for frequency in itertools.product(*(range(n) for n in self.grid)):
                mirrored = tuple(-k % n for k, n in zip(frequency, self.grid, strict=True))
                if frequency < mirrored:
                    re, im = self._block(kernel, frequency)
                    yield torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])
                elif frequency == mirrored:
                    yield self._block(kernel, frequency)[0]

    def _block(self, kernel: Tensor, frequency: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        flat = kernel.flatten(2).to(torch.float64)
        angle = torch.zeros((), dtype=torch.float64, device=kernel.device)
        for size, k, n in zip(kernel.shape[2:], frequency, self.grid, strict=True):
            positions = torch.arange(size, dtype=torch.float64, device=kernel.device)
            angle = (angle[..., None] + positions * k / n) if angle.ndim else positions * k / n
        angle = 2 * math.pi * angle.flatten()
        return flat @ torch.cos(angle), -(flat @ torch.sin(angle))
