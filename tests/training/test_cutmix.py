"""CutMix: rectangles of another image, and targets in proportion to the areas."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.training import CutMix, _cutmix

N = 5


def nothing(epoch: int) -> list[object]:
    return []


def flat(height: int, width: int) -> Tensor:
    """Return images each of whose pixels is the image's number."""
    return torch.arange(float(N), dtype=torch.float64).reshape(N, 1, 1, 1).expand(N, 2, height, width)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12), (1, 5), (1, 1)])
def test_targets_have_the_share_of_the_pixels(height: int, width: int) -> None:
    torch.manual_seed(0)
    cutmix, clipped = CutMix(nothing, classes=N), 0
    for _ in range(100):
        images, targets = cutmix.mix(flat(height, width), torch.arange(N))
        # Of each image: how many pixels are of which.
        found = torch.stack([(images == k).double().mean((1, 2, 3)) for k in range(N)], 1)
        torch.testing.assert_close(targets, found, rtol=0, atol=1e-15)
        changed = images[:, 0] != flat(height, width)[:, 0]
        assert torch.equal(images[:, 0], images[:, 1])
        union = changed.any(0)
        # One rectangle: all rows that it has are alike.
        assert torch.equal(union, torch.outer(union.any(1), union.any(0)))
        assert all(torch.equal(each, union) or not each.any() for each in changed)
        clipped += bool(union.any() and (union[0] | union[-1]).any())
    assert clipped or height == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 0.96, 1.0])
def test_sides_are_those_of_the_share_where_nothing_is_clipped(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """On 20 × 40, at every place: [m − s/2, m + s/2) of a side s that is rounded down, without what is outside."""
    monkeypatch.setattr(_cutmix, "draw_share", lambda alpha: share)
    height, width = 20, 40
    halves = [int(side * (1 - share) ** 0.5) // 2 for side in (height, width)]
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        images, targets = CutMix(nothing, classes=N).mix(flat(height, width), torch.arange(N))
        changed = (images != flat(height, width)).any(0)[0]
        rows, columns = (changed.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
        for found, half, side in ((rows, halves[0], height), (columns, halves[1], width)):
            assert all(after == before + 1 for before, after in pairwise(found))
            at_border = bool(found) and (found[0] == 0 or found[-1] == side - 1)
            assert len(found) == 2 * half or (at_border and half <= len(found) < 2 * half)
            seen.add(len(found) == 2 * half)
        # Clipping makes the share of the own image higher than what was drawn, and so does rounding.
        assert targets.diag().min() >= share - 1e-12
    assert seen == ({True} if share == 1 else {True, False} if share else seen)


def test_places_are_drawn_uniformly() -> None:
    torch.manual_seed(0)
    n, side = 4000, 5
    # A rectangle of less than two pixels is none; with λ = 0 half of 5 is 2: the middle pixel is in it unless it lies
    # at the far end. [m − 2, m + 2) ∩ [0, 5) begins at 0, 0, 0, 1, 2 and ends at 2, 3, 4, 5, 5.
    spans = [_cutmix._span(side, 0.0) for _ in range(n)]
    found = {each: sum((span.start, span.stop) == each for span in spans) for each in [(0, 2), (0, 3), (0, 4), (1, 5)]}
    found[2, 5] = n - sum(found.values())
    assert all((span.start, span.stop) in found for span in spans)
    # Five standard deviations of a share of a fifth.
    assert all(abs(each / n - 1 / side) < 5 * (0.2 * 0.8 / n) ** 0.5 for each in found.values())


def test_the_given_images_are_not_changed() -> None:
    torch.manual_seed(0)
    images = flat(6, 6).clone()
    CutMix(nothing, classes=N).mix(images, torch.arange(N))
    assert torch.equal(images, flat(6, 6))


def test_bad_input_is_named() -> None:
    for alpha in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="alpha is"):
            CutMix(nothing, alpha=alpha)
    with pytest.raises(UsageError, match="classes is -1"):
        CutMix(nothing, classes=-1)
    with pytest.raises(UsageError, match="classes is None"):
        CutMix(nothing).mix(flat(4, 4), torch.arange(N))
    for x in (torch.zeros(N, 4, 4), torch.zeros(N, 1, 4, 4, dtype=torch.int64), torch.zeros(N, 1, 0, 4)):
        with pytest.raises(UsageError, match=r"Give images \[n, channels, height, width\]"):
            CutMix(nothing, classes=N).mix(x, torch.arange(N))
    with pytest.raises(UsageError, match="inputs and targets are dict and Tensor"):
        CutMix(nothing, classes=N).mix({}, torch.arange(N))
