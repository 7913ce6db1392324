"""Convolutions written as attention: the error by how narrowly heads look, and kernels that need fewer heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Case, TrialRun
from deepscope.models import MultiHeadAttention, QuadraticAttention
from deepscope.studies.attention._kernels import as_convolution, draw_kernel
from deepscope.studies.attention._layers import attention, embedded, free_scores, offsets_of, quadratic_scores

#: α of the heads. Slopes are fitted within ``FITTED``; e⁻³⁷ is the rounding of float64.
LOCALITIES = (5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 28.0, 37.0, 46.0)
FITTED = (8.0, 20.0)


def express(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the largest differences from a Gaussian convolution.

    Returns
    -------
    dict
        ``locality``, and by it ``error`` and ``borderless``, without the keys around the image; ``standard``, that of
        ``MultiHeadAttention`` with the paper's encoding and random content at the greatest locality.
    """
    kernel = draw_kernel("gaussian", case.size, case.channels, run.generator)
    x = torch.randn(case.images, case.channels, case.side, case.side, generator=run.generator, dtype=kernel.dtype)
    convolution = as_convolution(kernel)
    exact = convolution(x).detach()
    errors, borderless = [], []
    for locality in LOCALITIES:
        layer = QuadraticAttention.from_convolution(convolution, locality)
        errors.append(_largest(layer(x) - exact))
        layer.padding = 0
        borderless.append(_largest(layer(x) - exact))
    centre = offsets_of(case.size).to(kernel)
    narrowest = torch.full_like(centre[:, 0], LOCALITIES[-1])
    scores = quadratic_scores(centre, narrowest, case.side + case.size - 1)
    values = kernel.reshape(-1, case.channels, case.channels)
    standard = attention(values, scores, run.generator, content=case.content)
    return {
        "locality": np.array(LOCALITIES),
        "error": np.array(errors),
        "borderless": np.array(borderless),
        "standard": _largest(padded_read(standard, x, case.size) - exact),
    }


def express_low_rank(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the largest difference from a convolution of low rank of one head more than that, with free scores.

    A softmax is positive. Any vectors u₁ … u_r over the offsets are combinations of the r + 1 positive ones 1 and
    1 + εuᵢ; what heads read is these, divided by their sums.
    """
    channels = 1 if case.rank == 1 else case.channels
    draw = torch.randn(case.size**2 + channels**2, case.rank, generator=run.generator, dtype=torch.float64)
    vectors, matrices = draw[: case.size**2] / case.size, draw[case.size**2 :].T
    scale = 0.5 / vectors.abs().amax(0)
    positive = torch.cat([torch.ones_like(vectors[:, :1]), 1 + scale * vectors], 1).T
    sums = positive.sum(1, keepdim=True)
    parts = matrices / scale[:, None]
    values = sums * torch.cat([-parts.sum(0, keepdim=True), parts])
    x = torch.randn(case.images, channels, case.side, case.side, generator=run.generator, dtype=draw.dtype)
    scores = free_scores(positive / sums, case.side + case.size - 1)
    layer = attention(values.reshape(-1, channels, channels), scores, run.generator, content=0.0)
    exact = as_convolution(vectors @ matrices)(x).detach()
    return {"low_rank": _largest(padded_read(layer, x, case.size) - exact)}


def padded_read(layer: MultiHeadAttention, x: Tensor, size: int) -> Tensor:
    """Return what a layer gives the pixels of an image with zeros around it, [batch, channels, height, width]."""
    channels, reach = x.shape[1], size // 2
    padded = nn.functional.pad(x, 4 * [reach])
    with torch.no_grad():
        y = layer(embedded(padded, layer.num_heads))[..., :channels].mT.unflatten(2, padded.shape[2:])
    inner: Tensor = y[:, :, reach : reach + x.shape[2], reach : reach + x.shape[3]]
    return inner


def _largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())
