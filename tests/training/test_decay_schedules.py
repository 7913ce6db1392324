from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import fit, inverse_square_root, inverse_time


def test_it_is_the_transformers_schedule() -> None:
    width, warmup = 512, 40
    schedule = inverse_square_root(warmup)
    for t in range(1, 200):
        published = width**-0.5 * min(t**-0.5, t * warmup**-1.5)
        assert (width * warmup) ** -0.5 * schedule(t - 1) == pytest.approx(published, rel=1e-12)
    assert max(schedule(step) for step in range(200)) == schedule(warmup - 1) == 1.0


def test_descent_with_rates_1_over_t_is_the_running_mean() -> None:
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 7.0)
    one = torch.ones(1, dtype=torch.float64)
    fit(
        model,
        lambda epoch: [(one, each) for each in x],
        lambda outputs, target: (outputs - target).square().sum() / 2,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        epochs=1,
        schedule=inverse_time(1),
    )
    # Rates 1, 1/2, 1/3, …; rounding of 50 steps.
    assert model.weight.item() == pytest.approx(x.mean().item(), abs=1e-14)


def test_other_powers_fall_as_they_say() -> None:
    schedule = inverse_time(10, power=0.6)
    assert schedule(0) == 1.0
    assert schedule(990) == pytest.approx(100**-0.6)
    copy = pickle.loads(pickle.dumps(schedule))
    assert [copy(step) for step in range(5)] == [schedule(step) for step in range(5)]


def test_wrong_arguments_are_named() -> None:
    for make, name in (
        (lambda: inverse_square_root(0), "warmup"),
        (lambda: inverse_time(0), "half"),
        (lambda: inverse_time(5, power=1.5), "power"),
        (lambda: inverse_time(5, power=0), "power"),
    ):
        with pytest.raises(UsageError, match=name):
            make()
