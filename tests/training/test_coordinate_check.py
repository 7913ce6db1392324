from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.data import load
from deepscope.models import MLP
from deepscope.training import SGD, Adam, CoordinateCheck, coordinate_check, maximal_update

RATE, WIDTHS = 2.0**-7, (256, 512, 1024)


def build(width: int) -> MLP:
    network = MLP(64, (width, width), 10, activation="tanh")
    # As the authors advise: a random output of the size 1/√n hides what training adds to it.
    nn.init.zeros_(network.output.weight)
    return network


def check(optimizer, seeds: int, widths: tuple[int, ...] = (4, 8, 16)) -> CoordinateCheck:
    digits = load("digits").train
    batch = digits.inputs[:64], digits.targets[:64]
    return coordinate_check(
        build, widths, batch, nn.functional.cross_entropy, optimizer=optimizer, steps=3, seeds=seeds
    )


@pytest.mark.demonstrates("repo-mup")
def test_maximal_updates_are_flat_in_width_and_standard_ones_grow() -> None:
    flat = check(lambda network: Adam(maximal_update(network, build(256), lr=RATE)), 10, WIDTHS).table()
    # Of the mean of ten, whose deviation over seeds is 0.02 to 0.03: its whole interval.
    assert flat.low.min() >= -0.05
    assert flat.high.max() <= 0.05
    # A network that does not train would be flat too.
    assert flat.least_change.min() >= 0.05
    standard = check(lambda network: Adam(network.parameters(), lr=RATE), 3, WIDTHS).table().set_index("layer")
    # At one rate every entry of a matrix moves alike, and so a sum of n of them by n.
    assert standard.low["output"] > 0.5
    assert standard.low["hidden2"] > 0.5


def test_it_measures_what_a_loop_written_out_does() -> None:
    def one(width: int) -> nn.Sequential:
        torch.manual_seed(width)
        return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 2)).double()

    x, y = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    found = coordinate_check(
        lambda width: one(width).eval(),
        [9, 3, 5, 5],
        (x, y),
        lambda outputs, targets: (outputs - targets).square().mean(),
        optimizer=lambda network: SGD([each for each in network.parameters() if each.ndim == 2], lr=0.1),
        steps=2,
        seeds=2,
    )
    assert (found.layers, found.widths) == (("0", "3"), (3, 5, 9))
    assert found.size.shape == (2, 3, 3, 2)
    assert found.change.shape == (2, 3, 2, 2)

    def outputs(network: nn.Sequential) -> tuple[Tensor, Tensor]:
        first = network[0](x)
        return first, network[3](first.relu())

    for place, width in enumerate(found.widths):
        first = outputs(one(width))
        sizes = [each.square().mean().sqrt().item() for each in first]
        assert found.size[:, place, 0] == pytest.approx(np.array([sizes, sizes]))
    assert (found.change > 0).all()
    slopes = found.slopes(1)
    expected = np.polyfit(np.log([3, 5, 9]), np.log(found.change[0, :, 0, 1]), 1)[0]
    assert slopes["3"][0] == pytest.approx(expected)


def test_the_change_of_a_linear_readout_is_the_closed_form() -> None:
    x, y = torch.randn(6, 4).double(), torch.randn(6, 2).double()

    def linear(width: int) -> nn.Linear:
        layer = nn.Linear(4, 2, bias=False).double()
        nn.init.zeros_(layer.weight)
        return layer

    found = coordinate_check(
        linear,
        (1, 2, 4),
        (x, y),
        nn.functional.mse_loss,
        optimizer=lambda network: SGD(network.parameters(), lr=0.3),
        steps=1,
        seeds=1,
    )
    # One step from 0: W = η · 2 yᵀx / 12.
    change = (x @ (0.3 * 2 / 12 * y.T @ x).T).square().mean().sqrt().item()
    # Sums of a dozen numbers in another order.
    assert found.change.ravel() == pytest.approx([change] * 3, rel=1e-12)
    assert found.slopes()[""] == pytest.approx([0.0], abs=1e-12)


def test_what_does_not_move_has_no_slope() -> None:
    still = check(lambda network: SGD(network.parameters(), lr=0.0), 1)
    assert not still.change.any()
    assert all(math.isnan(slope) for slope in still.table().slope)
    with pytest.raises(UsageError, match="step is 4"):
        still.slopes(4)


def test_generators_are_left_as_they_were_and_the_same_call_gives_the_same_numbers() -> None:
    before = torch.get_rng_state()
    first, second = (check(lambda network: Adam(network.parameters(), lr=RATE), 1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first.change, second.change)
    assert math.isnan(first.table().low[0])


def test_what_cannot_be_checked_is_named() -> None:
    batch, loss = (torch.zeros(2, 3), torch.zeros(2, 3)), nn.functional.mse_loss

    def run(make=lambda width: nn.Linear(3, 3), widths=(1, 2, 3), **settings):
        return coordinate_check(
            make, widths, batch, loss, optimizer=lambda network: SGD(network.parameters(), lr=0.1), **settings
        )

    with pytest.raises(UsageError, match=r"widths is \(1, 2, 2\)"):
        run(widths=(1, 2, 2))
    with pytest.raises(UsageError, match="steps is 0"):
        run(steps=0)
    with pytest.raises(UsageError, match="seeds is 0"):
        run(seeds=0)
    with pytest.raises(UsageError, match="layers with parameters are 0 at one width and 0, 1 at another"):
        run(lambda width: nn.Sequential(*(nn.Linear(3, 3) for _ in range(1 + (width > 2)))))
