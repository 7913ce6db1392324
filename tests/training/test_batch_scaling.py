from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.training import fit, gradual_warmup, linear_warmup, scaled_rate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()


def moved(lr: float, size: int) -> torch.Tensor:
    """Return where one epoch over 32 samples takes the weights by gradient descent on batches of a size."""
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(32, n, generator=generator, dtype=torch.float64) for n in (5, 2))
    model = network()
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    batches = list(zip(x.split(size), y.split(size), strict=True))
    fit(model, lambda epoch: batches, nn.functional.mse_loss, optimizer=optimizer, epochs=1)
    return nn.utils.parameters_to_vector(model.parameters()).detach() - before


def test_k_steps_are_one_step_to_first_order() -> None:
    def gap(lr: float, rule: str) -> float:
        small, large = moved(lr, 4), moved(scaled_rate(lr, 32, 4, rule=rule), 32)
        return ((large - small).norm() / small.norm()).item()

    # What is left is of second order in the rate: relative to the way, half at half the rate.
    assert gap(1e-3, "linear") < 0.01
    assert gap(5e-4, "linear") / gap(1e-3, "linear") == pytest.approx(0.5, rel=0.01)
    # The root of eight, less than three steps' way.
    assert gap(1e-5, "square root") == pytest.approx(1 - math.sqrt(8) / 8, rel=1e-3)


def spread(lr: float, size: int, curvature: float, variance: float) -> float:
    """Return the stationary variance of x ← x − η (λx + noise/√B): η² v/B over 1 − (1 − ηλ)²."""
    return lr**2 * variance / size / (1 - (1 - lr * curvature) ** 2)


@pytest.mark.parametrize("k", [4, 16])
def test_linear_scaling_keeps_the_stationary_variance_and_the_root_keeps_a_steps(k: int) -> None:
    lr, size, curvature, variance = 1e-5, 8, 2.0, 3.0
    linear, root = scaled_rate(lr, k * size, size), scaled_rate(lr, k * size, size, rule="square root")
    # η v/(2λB) but for a part ηλ/2 of it, here below 16 · 1e-5.
    before = spread(lr, size, curvature, variance)
    assert before == pytest.approx(lr * variance / (2 * curvature * size), rel=1e-4)
    assert spread(linear, k * size, curvature, variance) == pytest.approx(before, rel=1e-3)
    assert spread(root, k * size, curvature, variance) == pytest.approx(before / math.sqrt(k), rel=1e-3)
    assert root**2 * variance / (k * size) == pytest.approx(lr**2 * variance / size)
    assert linear**2 * variance / (k * size) == pytest.approx(k * lr**2 * variance / size)


def test_the_closed_form_is_what_noisy_descent_does() -> None:
    lr, size, curvature, variance = 0.3, 8, 2.0, 3.0
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(100_000, dtype=torch.float64)
    for _ in range(40):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64) * math.sqrt(variance / size)
        x -= lr * (curvature * x + noise)
    # A variance of 1e5 normal numbers is known to 0.45 %; five of that. (1 − 0.6)^80 of the start is left.
    assert x.var().item() == pytest.approx(spread(lr, size, curvature, variance), rel=0.0225)


def test_it_is_the_ramp_of_the_paper() -> None:
    lr, ratio, steps = 0.1, 32.0, 25
    scaled = scaled_rate(lr, 8192, 256)
    assert scaled == pytest.approx(lr * ratio)
    rates = [scaled * gradual_warmup(steps, ratio)(step) for step in range(40)]
    # From η by as much at every iteration until it is kη.
    assert rates[0] == pytest.approx(lr)
    increments = [(ratio - 1) * lr / steps] * steps + [0.0] * 14
    assert [b - a for a, b in itertools.pairwise(rates)] == pytest.approx(increments, abs=1e-12)
    assert rates[-1] == scaled
    assert gradual_warmup(5, 1.0)(0) == 1.0
    # The house's other one starts at a step's share.
    assert linear_warmup(steps)(0) != pytest.approx(1 / ratio, rel=0.1)


def test_it_is_a_schedule_for_torch_and_for_fit() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.8)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, gradual_warmup(2, 4.0))
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.2, 0.5, 0.8, 0.8])
    model = nn.Linear(1, 1)
    history = fit(
        model,
        lambda epoch: [(torch.ones(1, 1), torch.ones(1, 1))] * 4,
        nn.functional.mse_loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
        epochs=1,
        schedule=gradual_warmup(2, 4.0),
    )
    assert history.lr_factor == pytest.approx([0.25, 0.625, 1, 1])


def test_what_cannot_be_scaled_is_named() -> None:
    with pytest.raises(UsageError, match="lr is -1"):
        scaled_rate(-1, 2, 1)
    with pytest.raises(UsageError, match="base_batch_size is 0"):
        scaled_rate(1, 2, 0)
    with pytest.raises(UsageError, match="batch_size is 0"):
        scaled_rate(1, 0, 2)
    with pytest.raises(UsageError, match="unknown rule: sqare root") as caught:
        scaled_rate(1, 2, 1, rule="sqare root")
    assert 'Did you mean "square root"' in str(caught.value)
    with pytest.raises(UsageError, match="steps is 0"):
        gradual_warmup(0, 2)
    for ratio in (0.5, math.inf, math.nan):
        with pytest.raises(UsageError, match="ratio is"):
            gradual_warmup(2, ratio)
