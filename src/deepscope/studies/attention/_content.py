"""Full attention, by content and position: its rank at the origin, and what is left of it without positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun
from deepscope.models import MultiHeadAttention
from deepscope.studies.attention._kernels import as_convolution, draw_kernel, without_places
from deepscope.studies.attention._layers import attention, embedded, offsets_of, quadratic_scores

LOCALITY = 46.0


def rank_at_origin(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return ``excess``, the first singular value beyond the number of heads over the largest, at a blank image.

    All weights are random, and so are places and localities. The derivative of what the middle pixel is given by all
    pixels is a matrix [pixels, in · out].
    """
    generator, dtype = run.generator, torch.float64
    values = torch.randn(case.heads, case.channels, case.channels, generator=generator, dtype=dtype)
    centre = 2**0.5 * torch.randn(case.heads, 2, generator=generator, dtype=dtype)
    locality = 0.5 + torch.rand(case.heads, generator=generator, dtype=dtype)
    layer = attention(values, quadratic_scores(centre, locality, case.side), generator, content=case.content)
    singular = torch.linalg.svdvals(derivative(layer, case.channels, case.side))
    return {"excess": (singular[case.heads] / singular[0]).item(), "least": (singular[case.heads - 1]).item()}


def derivative(layer: MultiHeadAttention, channels: int, side: int) -> Tensor:
    """Return how the middle pixel's output depends on all pixels of a blank image, [pixels, in · out]."""
    middle = side**2 // 2 + (side // 2) * (1 - side % 2)

    def read(x: Tensor) -> Tensor:
        found: Tensor = layer(embedded(x[None], layer.num_heads))[0, middle, :channels]
        return found

    blank = torch.zeros(channels, side, side, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(read, blank)  # type: ignore[no-untyped-call]
    found: Tensor = jacobian.flatten(2).permute(2, 0, 1).flatten(1)
    return found


def without_positions(case: Case, run: TrialRun) -> dict[str, Any]:
    """Give heads by content the values that are best for a convolution, with positions and without.

    Returns
    -------
    dict
        ``permuted``: largest difference between the output of the layer without positions for permuted pixels, and its
        permuted output. On new images, root mean square errors over that of the convolution itself: ``with`` and
        ``without`` positions, ``least``, of any layer without.
    """
    kernel = draw_kernel("gaussian", case.size, case.channels, run.generator)
    centre = offsets_of(case.size).to(kernel)
    scores = quadratic_scores(centre, torch.full_like(centre[:, 0], LOCALITY), case.side)
    values = kernel.reshape(-1, case.channels, case.channels)
    x = torch.randn(2 * case.fit_images, case.channels, case.side, case.side, generator=run.generator).to(kernel)
    pixels = x.flatten(2).mT
    target = inner(as_convolution(kernel)(x).detach().flatten(2).mT, case.side, case.size)
    placed = attention(values, scores, run.generator, content=case.content)
    blind = attention(values, None, run.generator, content=case.content)
    order = torch.randperm(case.side**2, generator=run.generator)
    few = embedded(x[:4], len(values))
    with torch.no_grad():
        permuted = blind(few[:, order]) - blind(few)[:, order]
    test = slice(case.fit_images, None)
    least = inner(without_places(kernel, pixels), case.side, case.size)[test] - target[test]
    return {
        "permuted": permuted.abs().max().item(),
        "with": _refitted(placed, x, target, case.size),
        "without": _refitted(blind, x, target, case.size),
        "least": least.norm().item() / target[test].norm().item(),
    }


def inner(pixels: Tensor, side: int, size: int) -> Tensor:
    """Return the pixels around which a kernel stays in the image, [batch, pixels, …]."""
    reach = size // 2
    square = pixels.reshape(len(pixels), side, side, -1)
    return square[:, reach : side - reach, reach : side - reach].flatten(1, 2)


def _refitted(layer: MultiHeadAttention, x: Tensor, target: Tensor, size: int) -> float:
    """Fit the values on the first half of the images; return the error on the second over the target's norm."""
    half, pixels = len(target) // 2, x.flatten(2).mT
    with torch.no_grad():
        reads = layer.weights(embedded(x, layer.num_heads)) @ pixels[:, None]
    features = inner(reads.transpose(1, 2).flatten(2), x.shape[-1], size)
    fitted = torch.linalg.lstsq(features[:half].flatten(0, 1), target[:half].flatten(0, 1), driver="gelsd").solution
    error: float = (features[half:] @ fitted - target[half:]).norm().item() / target[half:].norm().item()
    return error
