"""The best that some heads do for a kernel: places by descent, values by least squares."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError
from deepscope.studies.attention._kernels import draw_kernel, rank_bounds
from deepscope.studies.attention._layers import offsets_of

Floats: TypeAlias = NDArray[np.float64]

#: α at the start, as the paper's networks begin, and its bounds in the last descent.
START, WIDEST, NARROWEST = 1.0, 0.01, 20.0
ONE_HOT = 46.0


def fit_heads(case: Case, run: TrialRun) -> dict[str, Any]:
    """Fit heads that look by position to a kernel.

    Returns
    -------
    dict
        Distances in the Frobenius norm, of what the middle pixel of an image reads from all: ``fitted``, of the best
        fit, ``unfitted``, the least of random places, ``one_hot``, heads that read just the offsets of the largest
        matrices; ``bound``, the least of any matrix of this rank; ``bound_8``, that of one head less than there are
        offsets; ``norm``, of the kernel. Δ of the best fit: ``start`` and ``places``, [heads, 2].
    """
    offsets = case.size**2
    if not 1 <= case.heads <= offsets:
        raise UsageError(f"there are {case.heads} heads", where="heads", todo=f"Give 1 … {offsets}.")
    kernel = draw_kernel(case.kernel, case.size, case.channels, run.generator)
    target, bounds = in_image(kernel, case.size + 4), rank_bounds(kernel)
    first, places, before = _adam(case, target, run.generator)
    fits = [_descend(each, target, case.polish) for each in places[: case.finalists]]
    best = min(range(len(fits)), key=lambda place: fits[place][0])
    largest = kernel.norm(dim=1).argsort(descending=True)[: case.heads]
    centre = offsets_of(case.size)[largest].to(kernel)
    one_hot = middle_reads(centre, torch.full_like(centre[:, 0], ONE_HOT), case.size + 4)
    return {
        "fitted": fits[best][0],
        "unfitted": before.min().item(),
        "one_hot": residual(one_hot, target).norm().item(),
        "bound": bounds[case.heads].item(),
        "bound_8": bounds[offsets - 1].item(),
        "norm": bounds[0].item(),
        "start": first[best].numpy(),
        "places": fits[best][1][:, :2].numpy(),
    }


def in_image(kernel: Tensor, side: int) -> Tensor:
    """Return a kernel around the middle of an image, [side², channels · channels]."""
    size = round(len(kernel) ** 0.5)
    image, first = kernel.new_zeros(side, side, kernel.shape[1]), (side - size) // 2
    image[first : first + size, first : first + size] = kernel.reshape(size, size, -1)
    return image.flatten(0, 1)


def residual(reads: Tensor, target: Tensor) -> Tensor:
    """Return what the best values leave of the target, [..., pixels, channels · channels].

    The values are held fixed for gradients: at the least squares, the derivative by them is 0.

    Parameters
    ----------
    reads
        [..., pixels, heads].
    target
        [pixels, channels · channels].
    """
    with torch.no_grad():
        values = torch.linalg.lstsq(reads, target.expand(*reads.shape[:-2], -1, -1), driver="gelsd").solution
    left: Tensor = target - reads @ values
    return left


def middle_reads(centre: Tensor, locality: Tensor, side: int) -> Tensor:
    """Return what ``QuadraticAttention`` lets the middle pixel of an image read, [..., side², heads].

    Parameters
    ----------
    centre, locality
        Δ, [..., heads, 2], and α, [..., heads].
    side
        Of the image, odd.
    """
    steps = torch.arange(side, device=centre.device) - side // 2
    along = (-locality[..., None, None] * (steps - centre[..., None]).square()).softmax(-1)
    return (along[..., 0, :, None] * along[..., 1, None, :]).flatten(-2).mT


def _adam(case: Case, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Descend from several random places by Adam.

    Returns
    -------
    tuple
        Δ before, [starts, heads, 2]; Δ and log α after, [starts, heads, 3], the best first; errors before, [starts].
    """
    side = round(len(target) ** 0.5)
    # As the model is initialised: N(0, 2).
    first = 2**0.5 * torch.randn(case.starts, case.heads, 2, generator=generator, dtype=target.dtype)
    centre, locality = first.clone().requires_grad_(), torch.full_like(first[..., 0], START).requires_grad_()
    optimizer = torch.optim.Adam([centre, locality], lr=case.fit_rate)
    squares = _squares(centre, locality, target, side)
    before = squares.detach().sqrt()
    for _ in range(case.steps):
        optimizer.zero_grad()
        squares.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        squares = _squares(centre, locality, target, side)
    order = squares.detach().argsort()
    places = torch.cat([centre, locality.clamp(WIDEST, NARROWEST).log()[..., None]], -1).detach()
    return first[order], places[order], before


def _squares(centre: Tensor, locality: Tensor, target: Tensor, side: int) -> Tensor:
    return residual(middle_reads(centre, locality, side), target).square().sum((-2, -1))


def _descend(places: Tensor, target: Tensor, most: int) -> tuple[float, Tensor]:
    """Return the least error that a quasi-Newton descent of its logarithm finds, and its Δ and log α."""
    side = round(len(target) ** 0.5)

    def value_and_slope(flat: Floats) -> tuple[float, Floats]:
        given = torch.from_numpy(flat).reshape(places.shape).requires_grad_()
        value = _squares(given[:, :2], given[:, 2].exp(), target, side).log() / 2
        (slope,) = torch.autograd.grad(value, given)
        return value.item(), slope.flatten().numpy()

    box = [(-side, side), (-side, side), (math.log(WIDEST), math.log(NARROWEST))] * len(places)
    start = places.flatten().numpy()
    found = minimize(value_and_slope, start, jac=True, method="L-BFGS-B", bounds=box, options={"maxiter": most})
    return math.exp(found.fun), torch.from_numpy(found.x).reshape(places.shape)
