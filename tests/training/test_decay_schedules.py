from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import Schedule, fit, inverse_square_root, inverse_time


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


def regressions(rate: float, schedule: Schedule, steps: int, spread: Tensor) -> tuple[list[float], list[float]]:
    """Mean squared errors of the weights, and of their average, in 800 runs of least squares from single samples.

    What is to be learnt is 0 under noise of variance 1. The average leaves out the first tenth.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (800, len(spread))
    weights = nn.Parameter(torch.ones(shape, dtype=torch.float64))
    optimizer = torch.optim.SGD([weights], lr=rate)
    average = torch.zeros(shape, dtype=torch.float64)
    last, averaged = [], []
    for step in range(steps):
        x = torch.randn(shape, generator=generator, dtype=torch.float64) * spread.sqrt()
        noise = torch.randn(shape[0], 1, generator=generator, dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = rate * schedule(step)
        weights.grad = x * ((x * weights.detach()).sum(dim=1, keepdim=True) - noise)
        optimizer.step()
        average += (weights.detach() - average) / max(1, step + 1 - steps // 10)
        last.append(weights.detach().square().sum(dim=1).mean().item())
        averaged.append(average.square().sum(dim=1).mean().item())
    return last, averaged


@pytest.mark.demonstrates("sgd-robbins-monro")
def test_the_error_falls_as_1_over_t_and_the_average_reaches_the_cramer_rao_bound() -> None:
    # Noise of variance 1 and features of variances λ: n samples tell the weights to Σ 1/(nλ) at best.
    spread, steps = torch.tensor([1.0, 0.5], dtype=torch.float64), 4000
    last, _ = regressions(4 / 20, inverse_time(20), steps, spread)
    at = torch.tensor([int(200 * 20 ** (k / 20)) for k in range(21)])
    error, time = torch.tensor(last)[at - 1].log(), at.double().log()
    slope = ((time - time.mean()) * (error - error.mean())).sum() / (time - time.mean()).square().sum()
    assert slope.item() == pytest.approx(-1, abs=0.1)
    # With rates c/t a direction's variance is c²λ/(2cλ − 1)/t. 1600 squares err by √(2/1600) = 3.5 %, the rest is of
    # order t₀/t.
    constant = sum(16 * each / (8 * each - 1) for each in spread.tolist())
    assert steps * last[-1] == pytest.approx(constant, rel=0.15)

    last, averaged = regressions(0.3, inverse_time(10, power=0.6), steps, spread)
    # The average of the last 3600 weights, within sampling error and what remains of order t^(p − 1) = 4 %.
    assert 0.9 * steps * averaged[-1] == pytest.approx(1 + 2, rel=0.15)
    # The last weights alone are far from it.
    assert steps * last[-1] > 5 * 3


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
