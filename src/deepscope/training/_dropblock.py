"""DropBlock: dropout of square blocks of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from deepscope.core import Specimen, UsageError
from deepscope.training._rate import check, count, rate


class DropBlock2d(nn.Module):
    """Drop square blocks of a feature map, each channel of each sample by itself, and scale what is left.

    Maps [batch, channels, height, width] to the same. A block of b × b begins at each place where it fits with
    probability γ = p/b² · h w/((h − b + 1)(w − b + 1)), which makes p h w the mean number of numbers dropped, those of
    overlapping blocks counted once for each. As blocks overlap, a number which k places cover is kept with probability
    (1 − γ)^k, k = b² in the interior: more than 1 − γ b², and more still near the border. The mask M is then scaled to
    a mean of 1 over all of the batch, y = x ∘ M · |M|/ΣM; where nothing is left y = 0. In evaluation y = x. With b = 1
    it is dropout but for this scale. Source: ``ghiasi2018dropblock``.

    Parameters
    ----------
    p
        Share of the map to drop, 1 − keep_prob of the paper.
    block
        b, side of the blocks.

    Raises
    ------
    UsageError
        p is not in [0, 1), or b below 1; when called: an input that is not [batch, channels, height, width] of
        floating-point numbers, or a map smaller than a block.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> y = DropBlock2d(0.1, block=2)(torch.ones(4, 8, 6, 6))
    >>> round(y.mean().item(), 4), len(y.unique())
    (1.0, 2)
    """

    def __init__(self, p: float = 0.1, *, block: int = 7) -> None:
        super().__init__()
        self.p, self.block = rate(p, "p", "DropBlock2d"), count(block, "block", "DropBlock2d")

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps without the dropped blocks."""
        check(x, x.ndim == 4, "[batch, channels, height, width]", "DropBlock2d")
        gamma = self.gamma(x.shape[2], x.shape[3])
        if not self.training or not self.p:
            return x
        height, width = (side - self.block + 1 for side in x.shape[2:])
        begins = torch.empty(*x.shape[:2], height, width, dtype=x.dtype, device=x.device).bernoulli_(gamma)
        return x * scaled_mask(begins, self.block)

    def gamma(self, height: int, width: int) -> float:
        """Return the probability that a block begins at a place of a map of this size.

        Raises
        ------
        UsageError
            The map is smaller than a block.
        """
        if min(height, width) < self.block:
            raise UsageError(
                f"block is {self.block}, and the map {height} × {width}",
                where="DropBlock2d",
                todo="Give a block that is no larger than the map.",
            )
        places = (height - self.block + 1) * (width - self.block + 1)
        return self.p / self.block**2 * height * width / places

    def extra_repr(self) -> str:
        """Return p and the side of the blocks."""
        return f"p={self.p}, block={self.block}"


def scaled_mask(begins: Tensor, block: int) -> Tensor:
    """Return the mask of blocks that begin where ``begins`` is 1, 0 in them, scaled to mean 1; 0 where all is dropped.

    From [batch, channels, height − block + 1, width − block + 1] to [batch, channels, height, width].
    """
    margin = block - 1
    kept = 1 - max_pool2d(pad(begins, [margin] * 4), block, stride=1)
    # A sum of 16 bits overflows, or is rounded to a few hundred.
    left = kept.sum(dtype=torch.promote_types(kept.dtype, torch.float32))
    return kept * (kept.numel() / left.clamp_min(1)).to(kept.dtype)


SPECIMENS = (
    Specimen(
        name="dropblock",
        title="dropout of square blocks of a feature map",
        build=DropBlock2d,
        formula="y = x ∘ M · |M|/ΣM in training, M = 0 in blocks of b × b that begin at each place where they fit with "
        "probability γ = p/b² · h w/((h − b + 1)(w − b + 1)); y = x in evaluation. A number in the interior is kept "
        "with probability (1 − γ)^(b²).",
        source="ghiasi2018dropblock",
        pinned_by="tests/training/test_dropblock.py::test_all_masks_of_a_map_give_the_keep_rates_and_the_promised_share",
    ),
)
