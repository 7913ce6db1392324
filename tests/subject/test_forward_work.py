"""The work of a sample against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepscope.subject import Subject, forward_work


class Reader(nn.Module):
    """A recurrent network over [batch, time, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.output = nn.LSTM(16, 64, 2, batch_first=True), nn.Linear(64, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(x)[0][:, -1])


@pytest.mark.parametrize(
    ("model", "shape", "products", "outputs"),
    [
        # Two operations per weight and position; attention adds two products of [20, 20] with 32 channels.
        (nn.Linear(20, 10), (20,), 2 * 200, 10),
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (3, 32, 32), 2 * 32 * 32 * 8 * 27, 8 * 32 * 32),
        (Reader(), (32, 16), 2 * (32 * 4 * 64 * (16 + 64 + 64 + 64) + 64 * 5), 5),
        (
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
            (20, 32),
            2 * 20 * (4 * 32 * 32 + 2 * 32 * 64) + 4 * 20 * 20 * 32,
            20 * 32,
        ),
    ],
)
def test_products_are_those_counted_by_hand(model: nn.Module, shape: tuple[int, ...], products: int, outputs: int):
    found = [forward_work(Subject(model, data=[(torch.zeros(n, *shape), None)])) for n in (1, 7)]
    # However long the batch is.
    assert found[0] == found[1]
    assert found[0].outputs == outputs
    # All else is ten operations for a value: at least the outputs themselves are computed, and none of these networks
    # computes more than some twenty values for each value that a layer passes on.
    others = found[0].operations - products
    assert 10 * outputs <= others < products


def test_what_is_computed_without_products_counts_too() -> None:
    found = forward_work(Subject(nn.Sequential(nn.ReLU(), nn.Tanh()), data=[(torch.zeros(3, 50), None)]))
    assert (found.operations, found.outputs) == (2 * 10 * 50, 50)


def test_a_forward_pass_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        forward_work(Subject(nn.Linear(20, 10), data=[(torch.zeros(3, 5), None)]))


def test_a_network_that_takes_no_sample_alone_is_run_on_a_batch() -> None:
    # Batch normalisation without running statistics refuses one value per channel.
    model = nn.Sequential(nn.Linear(20, 10), nn.BatchNorm1d(10, track_running_stats=False), nn.Linear(10, 4))
    found = forward_work(Subject(model, data=[(torch.randn(16, 20), None)]))
    assert found.outputs == 4
    # Products, and ten operations for each of 24 values; the norm's statistics, shared by 16 samples, add a little.
    assert 0 <= found.operations - (2 * (20 * 10 + 10 * 4) + 10 * 24) < 10 * 10
