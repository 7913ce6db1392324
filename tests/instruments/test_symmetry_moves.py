"""What is done to tensors, against what it should do."""

from __future__ import annotations

import pytest
import torch
from symmetry_networks import noise

from deepscope.instruments import LayerPlace
from deepscope.instruments import _symmetry_moves as moves

FIRST, LAST = LayerPlace("", (2, 3), (1.0, 1.0)), LayerPlace("", (1, 2), (1.0, 1.0))


@pytest.mark.parametrize("size", [4, 5])
def test_an_interpolated_quarter_is_an_exact_one(size: int) -> None:
    x = noise(3, 2, size, size)
    for quarters in (1, 2, 3, -1):
        exact, between = moves.turned(quarters)(x, FIRST), moves.rotated(90.0 * quarters)(x, FIRST)
        # Counter-clockwise, as torch and NumPy turn. At the middle of a pixel nothing is mixed, but for rounding of the
        # grid, which mixes in 1e-15 of the neighbours.
        torch.testing.assert_close(exact, x.rot90(quarters, (2, 3)))
        torch.testing.assert_close(between, exact, rtol=0, atol=1e-13)


def test_angles_are_those_of_pixels_whatever_the_sides() -> None:
    x = torch.zeros(1, 1, 9, 13, dtype=torch.float64)
    x[0, 0, 4, 9] = 1.0
    turned = moves.rotated(90.0)(x, FIRST)[0, 0]
    # Three to the right of the centre goes to three above it.
    assert turned[1, 6] == pytest.approx(1.0, abs=1e-12)
    assert turned.sum() == pytest.approx(1.0, abs=1e-12)


def test_channels_last_move_as_channels_first_do() -> None:
    x = noise(3, 6, 6, 2)
    first = x.permute(0, 3, 1, 2)
    for move in (moves.shifted(2), moves.turned(1), moves.rotated(30.0), moves.flipped(1), moves.flipped(2)):
        torch.testing.assert_close(move(x, LAST).permute(0, 3, 1, 2), move(first, FIRST))
    disc = moves.disc(x, LAST)
    assert disc.shape == (1, 6, 6, 1)
    assert torch.equal(disc[0, ..., 0], moves.disc(first, FIRST)[0, 0])


def test_what_is_turned_stays_inside_the_disc() -> None:
    x = torch.ones(1, 1, 15, 15, dtype=torch.float64)
    for degrees in (10.0, 30.0, 45.0, 77.0):
        turned = moves.rotated(degrees)(x, FIRST)
        # No zero from outside has come into it.
        assert (turned - 1).abs().mul(moves.disc(x, FIRST)).max() < 1e-12
        assert turned.min() < 0.5


def test_shifts_are_cyclic_and_undone_by_their_opposites() -> None:
    x = noise(3, 2, 6, 8)
    shifted = moves.shifted(2)(x, FIRST)
    assert torch.equal(shifted, x.roll((2, 2), (2, 3)))
    assert torch.equal(moves.shifted(-2)(shifted, FIRST), x)
    halved = LayerPlace("", (2, 3), (2.0, 0.5))
    assert torch.equal(moves.shifted(2)(x, halved), x.roll((1, 4), (2, 3)))
    assert moves.shifted(1)(x, halved) is None
    assert moves.shifted(1)(x, LayerPlace("", (2, 3))) is None
    assert torch.equal(moves.shifted(1)(x[:, :, :1, :1], halved), x[:, :, :1, :1])
    assert moves.shifted(1)(x, LayerPlace("")) is None


def test_real_positions_are_put_into_the_order_of_their_keys() -> None:
    keys = torch.tensor([0.4, 0.1, 0.3, 0.2])
    move = moves.positions_permuted(keys)
    x = torch.arange(8.0).reshape(2, 4)
    assert move(x, LayerPlace("", (1,), None)).tolist() == [[1, 3, 2, 0], [5, 7, 6, 4]]
    real = torch.tensor([[True, True, True, False], [False, True, False, True]])
    assert move(x, LayerPlace("", (1,), None, real)).tolist() == [[1, 2, 0, 3], [4, 5, 6, 7]]
    features = torch.stack([x, -x], dim=1)
    assert torch.equal(
        move(features, LayerPlace("", (2,), None, real))[:, 0], move(x, LayerPlace("", (1,), None, real))
    )
    # One position more, such as a class token's: it is not known which is which.
    assert move(torch.zeros(2, 5, 3), LayerPlace("", (1,), None)) is None
