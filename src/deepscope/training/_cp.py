"""CP decomposition of convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.training._factorised import (
    Convolution,
    Factorised,
    convolution,
    factorised,
    require_rank,
    weight_of,
)
from deepscope.training._optimizer_arguments import require


def cp(
    layer: Convolution,
    rank: int,
    *,
    generator: torch.Generator,
    max_sweeps: int = 500,
    tolerance: float = 1e-7,
) -> Factorised:
    """Return a convolution as a sum of ``rank`` outer products: two that mix channels, and between one per dimension.

    With the kernel K, [out, in, height, width]::

        K_oihw ≈ Σ_{r ≤ R} A_or B_ir C_hr D_wr

    which is a convolution of 1 × 1 by Bᵀ to R channels, one of height × 1 by C and one of 1 × width by D, both channel
    by channel with the stride, padding and dilation of their dimension, and one of 1 × 1 by A, with the bias; likewise
    in one and three dimensions. Source: ``lebedev2015speeding``. The factors are found by alternating least squares
    (``kolda2009tensor``) from random ones: each in turn is the best for the others, so that the error never rises.

    Parameters
    ----------
    layer
        Of one group; left as it is.
    rank
        R, at most the product of all sides of K but the largest, with which every K is exact.
    generator
        For the start; the result is a function of its state.
    max_sweeps
        Most rounds over the factors.
    tolerance
        Stop when a round lowers the relative error by less than this.

    Returns
    -------
    Factorised
        ``converged`` is False where ``max_sweeps`` came first. A minimum need not be the least one, and below the
        kernel's rank there may be none, when factors grow without bound: try other starts, and train on afterwards.

    Raises
    ------
    UsageError
        The layer is of another kind or has groups, or an argument is out of range.
    MeasurementError
        A weight is not finite.

    Notes
    -----
    Parameters without bias: R(out + in + height + width). A round costs some 2·R operations per entry of K for each
    dimension, in float64. Least squares are solved by pseudo-inverse, not by the normal equations, whose error is
    that of the squared condition number.

    Examples
    --------
    >>> layer = nn.Conv2d(8, 6, 3, padding=1)
    >>> found = cp(layer, 5, generator=torch.Generator().manual_seed(0))
    >>> [tuple(each.weight.shape) for each in found.layer]
    [(5, 8, 1, 1), (5, 1, 3, 1), (5, 1, 1, 3), (6, 5, 1, 1)]
    """
    kernel = weight_of(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d), where="cp")
    require_rank("rank", rank, kernel.numel() // max(kernel.shape), where="cp")
    require(max_sweeps >= 1, "max_sweeps", max_sweeps, "1 or more", where="cp")
    require(tolerance >= 0, "tolerance", tolerance, "0 or more", where="cp")
    factors, error, converged = _least_squares(kernel, rank, generator, max_sweeps, tolerance)
    A, B, *taps = factors
    dims = len(taps)
    points = [1] * dims
    layers = [
        convolution(B.mT.reshape(rank, -1, *points), like=layer),
        *(
            convolution(
                factor.mT.reshape(rank, 1, *(len(factor) if other == axis else 1 for other in range(dims))),
                like=layer,
                axes=[axis],
                groups=rank,
            )
            for axis, factor in enumerate(taps)
        ),
        convolution(A.reshape(-1, rank, *points), like=layer, bias=layer.bias),
    ]
    return factorised(layers, kernel, error, converged=converged)


def _least_squares(
    tensor: Tensor, rank: int, generator: torch.Generator, max_sweeps: int, tolerance: float
) -> tuple[list[Tensor], float, bool]:
    norm = float(torch.linalg.vector_norm(tensor))
    factors = [
        torch.randn(size, rank, generator=generator, device=generator.device, dtype=tensor.dtype).to(tensor.device)
        for size in tensor.shape
    ]
    unfolded = [tensor.movedim(mode, 0).flatten(1) for mode in range(tensor.ndim)]
    error, before = norm, torch.inf
    for _ in range(max_sweeps):
        for mode in reversed(range(tensor.ndim)):
            others = _khatri_rao([each for other, each in enumerate(factors) if other != mode])
            factors[mode] = unfolded[mode] @ torch.linalg.pinv(others).mT
            if mode:
                # The scale goes to the first factor, which is solved last.
                factors[mode] = nn.functional.normalize(factors[mode], dim=0, eps=torch.finfo(tensor.dtype).tiny)
        error = float(torch.linalg.vector_norm(unfolded[0] - factors[0] @ others.mT))
        if before - error <= tolerance * norm:
            return _balanced(factors), error, True
        before = error
    return _balanced(factors), error, False


def _khatri_rao(factors: list[Tensor]) -> Tensor:
    """Return the products of the factors' columns, [product of sizes, rank], the last size running fastest."""
    product = factors[0]
    for each in factors[1:]:
        product = (product[:, None] * each).flatten(0, 1)
    return product


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    """Share each term's scale, which the first factor has, evenly among all."""
    first, *others = factors
    scale = torch.linalg.vector_norm(first, dim=0)
    root = scale ** (1 / len(factors))
    return [first * torch.where(scale > 0, root / scale, 1.0), *(each * root for each in others)]


SPECIMENS = (
    Specimen(
        name="cp",
        title="a convolution as a sum of outer products, one dimension at a time",
        build=cp,
        formula="K_oihw ≈ Σ_r A_or B_ir C_hr D_wr, by alternating least squares.",
        source="lebedev2015speeding",
        pinned_by="tests/training/test_cp.py::test_a_kernel_of_low_rank_is_found",
    ),
)
