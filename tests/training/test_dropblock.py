"""DropBlock: what is kept, over all masks of small maps, and the share that γ promises."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.training import DropBlock2d
from deepscope.training._dropblock import scaled_mask


def kept_naively(begins: Tensor, block: int) -> Tensor:
    """Return the mask of one map, [height, width]: block after block."""
    height, width = (side + block - 1 for side in begins.shape)
    mask = torch.ones(height, width, dtype=torch.float64)
    for row, column in begins.nonzero().tolist():
        mask[row : row + block, column : column + block] = 0
    return mask


def coverings(height: int, width: int, block: int) -> Tensor:
    """Return how many places of a block cover each number."""
    one = [[sum(0 <= i - b <= side - block for b in range(block)) for i in range(side)] for side in (height, width)]
    return torch.outer(*torch.tensor(one[0] + one[1], dtype=torch.float64).split([height, width]))


@pytest.mark.parametrize(("height", "width", "block"), [(4, 4, 2), (5, 4, 3), (3, 3, 3), (2, 4, 1), (5, 3, 2)])
def test_all_masks_of_a_map_give_the_keep_rates_and_the_promised_share(height: int, width: int, block: int) -> None:
    """Sum over the 2ⁿ ways in which blocks begin at n places: up to 2⁹."""
    p = 0.3
    gamma = DropBlock2d(p, block=block).gamma(height, width)
    shape = (height - block + 1, width - block + 1)
    n = shape[0] * shape[1]
    begins = torch.tensor(list(product([0.0, 1.0], repeat=n)), dtype=torch.float64).reshape(-1, 1, 1, *shape)
    number = begins.sum((1, 2, 3, 4))
    probability = gamma**number * (1 - gamma) ** (n - number)
    masks = torch.stack([scaled_mask(each, block)[0, 0] for each in begins])
    for each, mask in zip(begins, masks, strict=True):
        kept = kept_naively(each[0, 0], block)
        assert torch.equal(mask != 0, kept != 0)
        # The scale keeps the mean over the map, in each mask and not only on average; nothing is left to scale once.
        assert mask.mean().item() == pytest.approx(1.0 if kept.any() else 0.0, abs=1e-14)
    rates = torch.einsum("m,mhw->hw", probability, (masks != 0).double())
    # 512 terms below 1.
    torch.testing.assert_close(rates, (1 - gamma) ** coverings(height, width, block), rtol=0, atol=1e-13)
    dropped = (probability * number).sum() * block**2
    assert dropped.item() == pytest.approx(p * height * width, abs=1e-12)
    # As blocks overlap, fewer numbers are dropped than that; none overlap where a block is a number, or the map.
    share = 1 - rates.mean().item()
    if block == 1 or n == 1:
        assert share == pytest.approx(p, abs=1e-13)
    else:
        assert share < p - 0.01


def test_gamma_is_the_papers() -> None:
    """With keep_prob 0.9, blocks of 7 on maps of 14 have γ = 0.1/49 · 14²/8²."""
    assert DropBlock2d(0.1, block=7).gamma(14, 14) == pytest.approx(0.1 / 49 * 196 / 64, rel=1e-15)


def test_in_training_numbers_are_kept_at_these_rates() -> None:
    torch.manual_seed(0)
    layer, n = DropBlock2d(0.4, block=2), 20_000
    y = layer(torch.ones(n // 4, 4, 3, 4, dtype=torch.float64)).reshape(n, 3, 4)
    rates = (1 - layer.gamma(3, 4)) ** coverings(3, 4, 2)
    assert (((y != 0).double().mean(0) - rates).abs() < 5 * (rates * (1 - rates) / n).sqrt()).all()
    # Channels are dropped each by itself: five standard deviations of a correlation of none.
    corners = (y[:, 0, 0] != 0).double().reshape(-1, 4)
    assert (torch.corrcoef(corners.T) - torch.eye(4)).abs().amax() < 5 / (n / 4) ** 0.5
    assert y.mean().item() == pytest.approx(1, abs=1e-12)


def test_evaluation_and_a_share_of_zero_change_nothing() -> None:
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(DropBlock2d(0.5, block=3).eval()(x), x)
    assert torch.equal(DropBlock2d(0.0, block=3)(x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_large_map_of_16_bits_keeps_its_mean(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    # 131,072 numbers, twice what float16 can count to.
    y = DropBlock2d(0.1, block=2)(torch.ones(8, 16, 32, 32, dtype=dtype))
    # The scale is rounded once, to 2⁻⁸ of itself at most.
    assert y.double().mean().item() == pytest.approx(1, abs=2**-8)
    assert y.dtype == dtype


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    torch.manual_seed(0)
    assert all(DropBlock2d(0.5, block=2)(x)[0, 0, 1, 1].isnan() for _ in range(10))


def test_bad_input_is_named() -> None:
    for p in (-0.1, 1.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="p is"):
            DropBlock2d(p)
    for block in (0, -1, 2.0):
        with pytest.raises(UsageError, match=f"block is {block}"):
            DropBlock2d(0.1, block=block)
    for layer in (DropBlock2d(0.1, block=4), DropBlock2d(0.1, block=4).eval()):
        with pytest.raises(UsageError, match="block is 4, and the map 5 × 3"):
            layer(torch.zeros(1, 1, 5, 3))
    for x in (torch.zeros(3, 5, 5), torch.zeros(1, 1, 5, 5, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, channels, height, width\]"):
            DropBlock2d(block=2)(x)
