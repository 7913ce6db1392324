"""Multi-head attention of pixels whose heads know where they look: the theorem's construction."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from deepscope.models import MultiHeadAttention

#: Score of a pixel that is not to be read: e⁻¹⁰⁰ is 4e-44.
NEVER = -100.0


class PositionScores(nn.Module):
    """Scores that depend on positions alone, added to those of the content.

    Parameters
    ----------
    scores
        [heads, queries, keys].
    """

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the scores, whatever the queries and keys are."""
        return cast(Tensor, self.scores)


def relative_places(side: int) -> Tensor:
    """Return where each pixel of a square lies as seen from each, key − query, [side², side², 2]."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    return places[None] - places[:, None]


def offsets_of(size: int) -> Tensor:
    """Return the offsets of a kernel from its middle, [size², 2], row by row."""
    steps = torch.arange(size) - size // 2
    return torch.cartesian_prod(steps, steps)


def quadratic_scores(centre: Tensor, locality: Tensor, side: int) -> Tensor:
    """Return v·r_δ with v = −α (1, −2Δ₁, −2Δ₂) and r_δ = (‖δ‖², δ₁, δ₂), [heads, side², side²].

    Parameters
    ----------
    centre, locality
        Δ, [heads, 2], and α, [heads].
    side
        Of the image.
    """
    places = relative_places(side).to(centre)
    encoding = torch.cat([places.square().sum(-1, keepdim=True), places], -1)
    vectors = -locality[:, None] * torch.cat([torch.ones_like(centre[:, :1]), -2 * centre], -1)
    return torch.einsum("hd,qkd->hqk", vectors, encoding)


def free_scores(reads: Tensor, side: int) -> Tensor:
    """Return log of how much each head is to read at each offset of a kernel, [heads, side², side²].

    Parameters
    ----------
    reads
        [heads, size²], positive.
    side
        Of the image.
    """
    size = round(reads.shape[1] ** 0.5)
    places = relative_places(side) + size // 2
    inside = ((places >= 0) & (places < size)).all(-1)
    index = (places[..., 0] * size + places[..., 1]).clamp(0, size**2 - 1)
    return torch.where(inside, reads.log()[:, index], NEVER)


def attention(
    values: Tensor, scores: Tensor | None, generator: torch.Generator, *, content: float
) -> MultiHeadAttention:
    """Return ``MultiHeadAttention`` whose head h applies values[h] to what it reads.

    Of a width of heads · channels, the first channels hold the pixel. Each head copies them as its values, so that its
    part of the output map is its matrix. Queries and keys are random.

    Parameters
    ----------
    values
        [heads, channels, channels], out by in.
    scores
        Of positions, [heads, queries, keys], or None.
    generator
        Of the random queries and keys.
    content
        Standard deviation of the scores of Gaussian pixels.
    """
    heads, channels = values.shape[:2]
    width = heads * channels
    bias = None if scores is None else cast(Any, PositionScores(scores))
    layer = MultiHeadAttention(width, heads, bias=False, score_bias=bias).to(values.dtype)
    with torch.no_grad():
        for each in layer.query, layer.key:
            # A score is then a sum of `channels` products of three normal numbers, scaled to variance content².
            drawn = torch.randn(width, width, generator=generator, dtype=values.dtype)
            each.weight.copy_(drawn * (content / channels) ** 0.5)
        layer.value.weight.zero_()
        layer.value.weight[:, :channels] = torch.eye(channels, dtype=values.dtype).repeat(heads, 1)
        layer.output.weight.zero_()
        layer.output.weight[:channels] = values.permute(1, 0, 2).flatten(1)
    return layer


def embedded(x: Tensor, heads: int) -> Tensor:
    """Return images as sequences of pixels in the first channels of a layer, [batch, pixels, heads · channels]."""
    pixels = x.flatten(2).mT
    return nn.functional.pad(pixels, (0, (heads - 1) * pixels.shape[-1]))
