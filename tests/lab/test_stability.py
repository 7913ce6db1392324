"""Where torch's own steps on a quadratic begin to diverge."""

from __future__ import annotations

import pytest
import torch

from deepscope.lab._stability import stability_threshold

SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.5, "dampening": 0.3},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.7},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.7},
    {"dampening": 0.3},
]


def after(steps: int, curvature: float, settings: dict[str, float]) -> float:
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, **settings)
    for _ in range(steps):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    return abs(weight.item())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_steps_diverge_beyond_it_and_not_before(settings: dict[str, float]) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    threshold = stability_threshold(torch.optim.SGD([weight], lr=0.1, **settings)).threshold
    assert threshold is not None
    # The root of the recurrence that is −1 at the threshold moves by at least 0.005·2 at 0.5 % from it, and momentum
    # makes it more: 2000 steps change the distance by more than exp(19) > 1e8.
    assert after(2000, 0.995 * threshold, settings) < 1e-8
    assert after(2000, 1.005 * threshold, settings) > 1e8


def test_the_rate_of_now_counts() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    assert stability_threshold(optimizer).threshold == 20
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    assert stability_threshold(optimizer).threshold == 4
    optimizer.param_groups[0]["lr"] = 0.0
    assert stability_threshold(optimizer) == (None, "2/η", "")


class Own(torch.optim.SGD):
    """Whatever this does, it need not be what SGD does."""


def one() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("optimizer", "reason"),
    [
        (torch.optim.AdamW([one()]), "AdamW is not plain"),
        (Own([one()], lr=0.1), "Own is not plain"),
        (torch.optim.SGD([one()], lr=0.1, maximize=True), "maximises"),
        (torch.optim.SGD([{"params": [one()], "lr": 0.1}, {"params": [one()], "lr": 0.2}]), "different settings"),
    ],
)
def test_others_have_none_and_it_is_said_why(optimizer: torch.optim.Optimizer, reason: str) -> None:
    threshold, formula, why = stability_threshold(optimizer)
    assert (threshold, formula) == (None, "")
    assert reason in why
