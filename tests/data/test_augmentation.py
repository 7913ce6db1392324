from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from deepscope.core import UsageError
from deepscope.data import Augmented, Samples


def epochs(images: torch.Tensor, batch: int = 64, seed: int = 0):
    return Samples(images, torch.arange(len(images))).epochs(batch, seed=seed)


def placed(height: int = 5, width: int = 6) -> torch.Tensor:
    """Return one image whose every pixel has another value, none of them zero, in two channels."""
    first = torch.arange(1.0, height * width + 1).view(height, width)
    return torch.stack([first, -first])[None]


def moves(image: torch.Tensor, shift: int, mirror: bool) -> dict[tuple[int, int, bool], torch.Tensor]:
    """Twin: every image that may come out, pixel by pixel."""
    height, width = image.shape[1:]
    found = {}
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            for flipped in (False, True) if mirror else (False,):
                moved = torch.zeros_like(image)
                for i in range(height):
                    for j in range(width):
                        row, column = i + down, (width - 1 - j if flipped else j) + right
                        if 0 <= row < height and 0 <= column < width:
                            moved[:, i, j] = image[:, row, column]
                found[down, right, flipped] = moved
    return found


@pytest.mark.parametrize(("shift", "mirror"), [(0, True), (1, False), (2, True)])
def test_every_move_is_drawn_equally_often_and_nothing_else(shift: int, mirror: bool) -> None:
    possible = moves(placed()[0], shift, mirror)
    counts = dict.fromkeys(possible, 0)
    n = 400 * len(possible)
    for images, _ in Augmented(epochs(placed().expand(n, -1, -1, -1), 512), shift=shift, mirror=mirror)(0):
        for image in images:
            (move,) = [key for key, moved in possible.items() if torch.equal(moved, image)]
            counts[move] += 1
    # Even draws are farther from even counts once in a million seeds.
    assert chisquare(list(counts.values())).pvalue > 1e-6


def test_targets_stay_with_their_images_and_an_epoch_is_the_same_each_time() -> None:
    images = torch.rand(50, 3, 4, 4)
    images[:, 0, 1, 1] = torch.arange(1.0, 51)
    augmented = Augmented(epochs(images, 16), shift=1, mirror=True)
    first, again, other = ([*augmented(number)] for number in (0, 0, 1))
    assert len(augmented(0)) == len(first) == 4
    for (moved, targets), (moved_again, _) in zip(first, again, strict=True):
        assert torch.equal(moved, moved_again)
        # The marked pixel can move out at the edge by no shift of one.
        assert torch.equal(moved[:, 0].amax((1, 2)).round(), targets + 1.0)
    assert not torch.equal(first[0][0], other[0][0])
    assert not torch.equal(first[0][0], next(iter(Augmented(epochs(images, 16, seed=1), shift=1, mirror=True)(0)))[0])


def test_draws_depend_on_the_seed_and_the_epoch() -> None:
    """Of images that are all alike the order cannot tell."""

    def moved(epoch: int, seed: int) -> torch.Tensor:
        alike = placed().expand(64, -1, -1, -1)
        return next(iter(Augmented(epochs(alike, seed=seed), shift=2, mirror=True)(epoch)))[0]

    assert torch.equal(moved(0, 0), moved(0, 0))
    assert not torch.equal(moved(0, 0), moved(1, 0))
    assert not torch.equal(moved(0, 0), moved(0, 1))


def test_without_shift_and_mirror_nothing_changes() -> None:
    images = torch.rand(8, 1, 3, 3)
    for (moved, _), (plain, _) in zip(Augmented(epochs(images))(0), epochs(images)(0), strict=True):
        assert torch.equal(moved, plain)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="shift is -1"):
        Augmented(epochs(placed()), shift=-1)
    with pytest.raises(UsageError, match=r"the inputs are \[4, 7\]"):
        list(Augmented(epochs(torch.zeros(4, 7)))(0))
