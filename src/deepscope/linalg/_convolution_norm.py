"""An upper bound on the spectral norm of a convolution, whatever the size of its input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

import torch
from torch import Tensor

from deepscope.core import UsageError

#: Multiplications that the singular values of all frequencies may take; beyond, a coarser grid has a wider margin.
_WORK = 1e9
#: Frequencies per tap of the kernel on the coarsest grid: its margin is (cos π/8)^−½ < 1.041 for each dimension.
_FINEST_NEEDED = 8


def convolution_norm(
    kernel: Tensor,
    grid: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    circular: bool = False,
) -> tuple[float, float]:
    r"""Return an upper bound on the spectral norm of a convolution, and how far above the norm it may lie.

    On a periodic grid a convolution is block-diagonal in Fourier's basis, with blocks
    :math:`\hat K(\theta) = \sum_p K_p e^{-i p\cdot\theta}`, and its norm is the largest of theirs
    (``sedghi2019singular``); a convolution with stride s is one with stride 1 from the s^d interleaved parts of its
    input. With zero padding, or none, it is a part of the periodic one on any grid that the input and the kernel's
    reach fit on, so that the same is an upper bound. On a coarser grid of N points
    :math:`\sup_\theta \|\hat K(\theta)\| \le \max_{grid} \|\hat K\| / \sqrt{\cos(\pi (k-1)/N)}` for each dimension
    with k taps: :math:`|u^* \hat K(\theta) v|^2` is a trigonometric polynomial of degree k − 1, and at π/N from its
    maximum one has not fallen below the cosine of it (M. Riesz; ``pfister2019bounding``).

    Parameters
    ----------
    kernel
        [out, in / groups, *taps], real.
    grid
        Size of the input along each dimension, with its padding.
    stride, dilation, groups
        As of ``torch.nn.functional.conv2d``; of as many dimensions as the kernel has.
    circular
        Whether the padding is periodic: where the stride divides the grid the result is then the norm itself.

    Returns
    -------
    bound, margin
        ``bound``, never below the norm but for rounding, and the factor ≥ 1 in it that is due to a coarser grid; 1
        where all frequencies of the periodic grid were looked at.

    Raises
    ------
    UsageError
        The numbers of dimensions do not agree.

    Notes
    -----
    Cost: a singular value decomposition of out × in·s^d for every frequency of half the grid, in float64.

    Examples
    --------
    A mean of three neighbours at every place: the constant is its largest direction.

    >>> bound, margin = convolution_norm(torch.full((1, 1, 3), 1 / 3), [10])
    >>> round(bound, 6), margin
    (1.0, 1.0)
    """
    dims = kernel.ndim - 2
    strides, dilations = (((each,) * dims if isinstance(each, int) else tuple(each)) for each in (stride, dilation))
    if not len(grid) == len(strides) == len(dilations) == dims > 0:
        raise UsageError(
            f"a kernel of {dims} dimensions needs a grid, stride and dilation of as many",
            where=f"grid {list(grid)}, stride {list(strides)}, dilation {list(dilations)}",
        )
    phases = _interleaved(_dilated(kernel.detach().to(torch.float64), dilations), strides)
    taps = phases.shape[2:]
    exact = circular and all(n % s == 0 for n, s in zip(grid, strides, strict=True))
    # A periodic grid on which nothing wraps around.
    points = [n // s if exact else -(-n // s) + k - 1 for n, s, k in zip(grid, strides, taps, strict=True)]
    points = _affordable(points, taps, phases.shape[0] // groups, phases.shape[1], groups)
    margin = 1.0
    for n, s, k, chosen in zip(grid, strides, taps, points, strict=True):
        whole = n // s if exact else -(-n // s) + k - 1
        margin *= 1.0 if chosen == whole else math.cos(math.pi * (k - 1) / chosen) ** -0.5
    largest = max(_largest(part, points) for part in phases.chunk(groups))
    return largest * margin, margin


def _dilated(kernel: Tensor, dilations: Sequence[int]) -> Tensor:
    spread = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    made = kernel.new_zeros(*kernel.shape[:2], *spread)
    made[_along(slice(None, None, d) for d in dilations)] = kernel
    return made


def _along(slices: Iterable[slice]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *slices)


def _interleaved(kernel: Tensor, strides: Sequence[int]) -> Tensor:
    """Bring a kernel with strides to one of stride 1 from the interleaved parts of its input."""
    parts = []
    whole = [-(-k // s) for k, s in zip(kernel.shape[2:], strides, strict=True)]
    for offset in product(*(range(s) for s in strides)):
        part = kernel[_along(slice(o, None, s) for o, s in zip(offset, strides, strict=True))]
        made = kernel.new_zeros(*kernel.shape[:2], *whole)
        made[_along(slice(0, n) for n in part.shape[2:])] = part
        parts.append(made)
    return torch.cat(parts, 1)


def _affordable(points: list[int], taps: Sequence[int], rows: int, cols: int, groups: int) -> list[int]:
    """Take fewer frequencies, along the longest dimension first, while their singular values are too much work."""
    least = [min(n, _FINEST_NEEDED * max(k - 1, 1)) for n, k in zip(points, taps, strict=True)]
    # A decomposition takes some ten products; half of the frequencies are the conjugates of the others.
    each = 5 * groups * rows * cols * min(rows, cols)
    chosen = list(points)
    while each * math.prod(chosen) > _WORK and chosen != least:
        longest = max((i for i in range(len(chosen)) if chosen[i] > least[i]), key=lambda i: chosen[i])
        chosen[longest] = max(least[longest], chosen[longest] // 2)
    return chosen


def _largest(kernel: Tensor, points: Sequence[int]) -> float:
    wrapped = kernel
    for dim, n in enumerate(points, start=2):
        wrapped = _wrapped(wrapped, dim, n)
    dims = tuple(range(2, kernel.ndim))
    blocks = torch.fft.rfftn(wrapped, dim=dims).flatten(2).permute(2, 0, 1)
    smaller = blocks if blocks.shape[1] <= blocks.shape[2] else blocks.mH
    # Only the largest is asked for, for which the smaller Gram matrix is accurate enough.
    gram = smaller @ smaller.mH
    return float(torch.linalg.eigvalsh(gram)[:, -1].max().clamp_min(0).sqrt())


def _wrapped(kernel: Tensor, dim: int, n: int) -> Tensor:
    """Add up taps that fall on the same point of a periodic grid: its frequencies are those of the kernel."""
    size = kernel.shape[dim]
    padded = torch.nn.functional.pad(kernel.movedim(dim, -1), (0, -size % n))
    wrapped: Tensor = padded.reshape(*padded.shape[:-1], -1, n).sum(-2).movedim(-1, dim)
    return wrapped
