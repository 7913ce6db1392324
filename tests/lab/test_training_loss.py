"""Windows of a training's own loss."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from deepscope.lab._training_loss import TrainingLoss


def test_mean_and_largest_of_the_finite_ones() -> None:
    losses = TrainingLoss(10)
    for loss in (1.0, math.nan, 4.0, math.inf, 1.0):
        losses.add(loss)
    assert losses.window(5) == {
        "kind": "window", "step": 5, "training_loss": 2.0, "training_loss_largest": 4.0, "nonfinite_losses": 2,
    }  # fmt: skip
    assert losses.window(6) is None
    losses.add(torch.tensor(math.nan))
    assert losses.window(7) == {
        "kind": "window", "step": 7, "training_loss": None, "training_loss_largest": None, "nonfinite_losses": 1,
    }  # fmt: skip


def test_a_mean_is_finite_where_the_sum_would_not_be() -> None:
    losses = TrainingLoss(1)
    for _ in range(4):
        losses.add(1e308)
    assert losses.window(4)["training_loss"] == pytest.approx(1e308)


def test_a_tensor_that_is_changed_afterwards_is_kept_as_it_was() -> None:
    losses, loss = TrainingLoss(1), torch.tensor([3.0])
    losses.add(loss)
    loss.zero_()
    assert losses.window(1)["training_loss"] == 3.0


@pytest.mark.parametrize("every", [1, 7])
def test_long_trainings_have_longer_windows(every: int) -> None:
    losses, steps = TrainingLoss(every), 100_000 * every
    # Looking at every step once, for the definition's sake.
    ends = [step for step in range(every, steps + 1, every) if losses.ends_at(step)]
    assert ends[:1999] == [every * place for place in range(1, 2000)]
    lengths = {after - before for before, after in itertools.pairwise(ends)}
    assert lengths == {every * 2**doubling for doubling in range(7)}
    assert len(ends) <= 1000 * (1 + math.log2(100))
    assert not losses.ends_at(every + 1) or every == 1
