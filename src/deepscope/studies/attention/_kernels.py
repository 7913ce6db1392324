"""Convolution kernels as matrices, and how near layers that lack something can come to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import UsageError, nearest

KERNELS = ("gaussian", "orthogonal")


def draw_kernel(kind: str, size: int, channels: int, generator: torch.Generator) -> Tensor:
    """Draw a kernel as the matrices of its offsets side by side, [size², channels · channels], in float64.

    Parameters
    ----------
    kind
        ``"gaussian"``: independent entries of variance 1/(size² channels), so that outputs have the variance of inputs;
        ``"orthogonal"``: orthogonal rows with norms size², …, 2, 1 in random order, which are its singular values.
    size
        Of a side.
    channels
        In and out.
    generator
        Of the random numbers.

    Raises
    ------
    UsageError
        An unknown kind, or fewer pairs of channels than offsets for orthogonal rows.

    Examples
    --------
    >>> kernel = draw_kernel("orthogonal", 3, 3, torch.Generator().manual_seed(0))
    >>> [round(norm, 6) for norm in torch.linalg.svdvals(kernel).tolist()]
    [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    """
    if kind not in KERNELS:
        raise UsageError("unknown kernel", where=kind, todo=nearest(kind, KERNELS))
    offsets, pairs = size**2, channels**2
    if kind == "gaussian":
        scale: float = (offsets * channels) ** -0.5
        return scale * torch.randn(offsets, pairs, generator=generator, dtype=torch.float64)
    if pairs < offsets:
        raise UsageError(
            f"{offsets} rows of {pairs} entries cannot be orthogonal",
            where="channels",
            todo=f"Give at least {size}.",
        )
    rows: Tensor = torch.linalg.qr(torch.randn(pairs, offsets, generator=generator, dtype=torch.float64))[0].T
    norms = 1 + torch.randperm(offsets, generator=generator)
    return norms[:, None] * rows


def as_convolution(kernel: Tensor) -> nn.Conv2d:
    """Return the convolution of a kernel, [size², channels · channels], padded by zeros, without bias."""
    size, channels = round(len(kernel) ** 0.5), round(kernel.shape[1] ** 0.5)
    layer = nn.Conv2d(channels, channels, size, padding=size // 2, bias=False, dtype=kernel.dtype)
    with torch.no_grad():
        layer.weight.copy_(kernel.reshape(size, size, channels, channels).permute(2, 3, 0, 1))
    return layer


def rank_bounds(kernel: Tensor) -> Tensor:
    """Return how near a matrix of rank 0, 1, …, size² can come (Eckart and Young), in the Frobenius norm, [size² + 1].

    >>> rank_bounds(torch.diag(torch.tensor([3.0, 4.0]))).tolist()
    [5.0, 3.0, 0.0]
    """
    squares = torch.linalg.svdvals(kernel).square()
    rest = torch.cat([squares.flip(0).cumsum(0).flip(0), squares.new_zeros(len(kernel) + 1 - len(squares))])
    return rest.sqrt()


def without_places(kernel: Tensor, x: Tensor) -> Tensor:
    """Return the best that a layer without positions does for a convolution, where pixels are exchangeable.

    What such a layer gives a pixel depends on that pixel and on the others in any order. Of the convolution that leaves
    the matrix of offset 0, and the mean of the other pixels through the sum of the other matrices.

    Parameters
    ----------
    kernel
        [size², channels · channels].
    x
        [batch, pixels, channels].
    """
    channels = x.shape[-1]
    others = (x.sum(1, keepdim=True) - x) / (x.shape[1] - 1)
    middle = kernel[len(kernel) // 2]
    found: Tensor = x @ middle.reshape(channels, channels).T
    return found + others @ (kernel.sum(0) - middle).reshape(channels, channels).T
