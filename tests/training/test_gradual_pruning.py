from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.training import (
    Callback,
    GradualPruning,
    cubic_sparsity,
    fit,
    geometric_sparsity,
    magnitudes,
    one_shot_sparsity,
    taylor_scores,
)

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 2))


def data(epoch: int):
    return [(X[chosen], Y[chosen]) for chosen in torch.arange(len(X)).split(8)]


class Record(Callback):
    """Each layer's number of zeros, and its mask, after each update."""

    def __init__(self) -> None:
        self.zeros, self.kept = [], []

    def on_start(self, state) -> None:
        self.on_step(state)

    def on_step(self, state) -> None:
        self.kept.append([state.model[layer].weight.detach() != 0 for layer in (0, 2)])
        self.zeros.append([int((~kept).sum()) for kept in self.kept[-1]])


def train(pruning: GradualPruning, epochs: int = 5) -> Record:
    model, record = network(), Record()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    fit(model, data, cross_entropy, optimizer=optimizer, epochs=epochs, callbacks=[pruning, record])
    return record


def test_after_each_update_exactly_the_share_of_the_paper_is_0() -> None:
    record = train(GradualPruning(cubic_sparsity(0.87, initial=0.2, start=3, every=2, prunings=4)))
    assert len(record.zeros) == 16
    for t, zeros in enumerate(record.zeros):
        reached = [3 + 2 * k for k in range(5) if 3 + 2 * k <= t]
        sparsity = 0.87 + (0.2 - 0.87) * (1 - (reached[-1] - 3) / (4 * 2)) ** 3 if reached else 0.0
        assert zeros == [math.floor(sparsity * 60 + 1e-9), math.floor(sparsity * 20 + 1e-9)]
    for before, after in pairwise(record.kept):
        assert all(bool((new <= old).all()) for old, new in zip(before, after, strict=True))


def test_what_goes_is_what_has_the_least_magnitude_at_that_step() -> None:
    model = network()
    least = model[0].weight.detach().abs().flatten().argsort()[:30]
    pruning = GradualPruning(one_shot_sparsity(0.5))
    fit(
        model,
        data,
        cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        epochs=1,
        callbacks=[pruning],
    )
    assert sorted((~pruning.masks["0.weight"]).flatten().nonzero().flatten().tolist()) == sorted(least.tolist())


def test_the_schedules_of_han_and_of_one_shot() -> None:
    # Compression grows by 2 with each pruning: 1/2, 1/4, 1/8 remain.
    schedule = geometric_sparsity(7 / 8, every=5, prunings=3, start=2)
    assert [schedule(step) for step in (0, 1)] == [0.0, 0.0]
    # The power's rounding.
    assert [1 / (1 - schedule(step)) for step in (2, 6, 7, 12, 99)] == pytest.approx([2, 2, 4, 8, 8], rel=1e-12)
    record = train(GradualPruning(one_shot_sparsity(0.9, start=4)))
    assert record.zeros == [[0, 0]] * 4 + [[54, 18]] * 12


def test_it_prunes_by_other_scores_and_across_the_network() -> None:
    calls = []

    def scores(model: nn.Module):
        calls.append(1)
        return taylor_scores(model, data(0), cross_entropy)

    record = train(GradualPruning(cubic_sparsity(0.75, every=1, prunings=3), scores=scores, scope="network"))
    assert sum(record.zeros[-1]) == 60
    assert record.zeros[-1] != [45, 15]
    assert len(calls) == 3


def test_what_is_pruned_stays_so_whatever_its_score() -> None:
    def reversed_magnitudes(model: nn.Module):
        return {name: -each for name, each in magnitudes(model).items()}

    # What is 0 has the highest score.
    record = train(GradualPruning(cubic_sparsity(0.75, every=1, prunings=3), scores=reversed_magnitudes))
    assert record.zeros[-1] == [45, 15]
    for before, after in pairwise(record.kept):
        assert all(bool((new <= old).all()) for old, new in zip(before, after, strict=True))


def test_bad_arguments_are_named() -> None:
    for final in (0.0, 1.0, -0.5, 2.0, math.nan):
        for schedule in (one_shot_sparsity, cubic_sparsity, geometric_sparsity):
            settings = {} if schedule is one_shot_sparsity else {"every": 1, "prunings": 1}
            with pytest.raises(UsageError, match="final"):
                schedule(final, **settings)
    with pytest.raises(UsageError, match="initial"):
        cubic_sparsity(0.5, every=1, prunings=1, initial=0.5)
    with pytest.raises(UsageError, match="every"):
        cubic_sparsity(0.5, every=0, prunings=1)
    with pytest.raises(UsageError, match="prunings"):
        geometric_sparsity(0.5, every=1, prunings=0)
    with pytest.raises(UsageError, match="start"):
        one_shot_sparsity(0.5, start=-1)
    with pytest.raises(UsageError, match="sparsity is 1"):
        train(GradualPruning(lambda step: 1.0))
    with pytest.raises(UsageError, match="scope"):
        GradualPruning(one_shot_sparsity(0.5), scope="filter")
