from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError, UsageError
from deepscope.training import adan, find_learning_rate, fit, lion


class Point(nn.Module):
    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.place


DATA = [(torch.zeros(1), torch.zeros(1))]


def descend(curvature: float, model: nn.Module | None = None, **settings):
    model = model or Point()
    return find_learning_rate(
        model,
        lambda epoch: DATA,
        lambda place, _: curvature * place.square().sum() / 2,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.3),
        **{"lowest": 1e-4, "highest": 100.0, "steps": 120, "smoothing": 0.0, **settings},
    )


@pytest.mark.parametrize("curvature", [0.5, 2.0, 30.0])
@pytest.mark.parametrize("size", [1, 3])
def test_on_a_quadratic_it_turns_at_two_over_the_curvature(curvature: float, size: int) -> None:
    found = descend(curvature, Point(size))
    growth = (100.0 / 1e-4) ** (1 / 119)
    assert 2 / curvature < found.turning <= 2 / curvature * growth
    assert found.diverged
    # x ← (1 − ηλ) x, written out.
    place = 1.0
    for rate, loss in zip(found.rates, found.losses, strict=True):
        assert loss == pytest.approx(size * curvature * place**2 / 2, rel=1e-9)
        place *= 1 - rate * curvature
    # The loss falls by x² [1 − (1 − ηλ)²] a step: the steepest of these, before the turn.
    falls = [b - a for a, b in itertools.pairwise(found.losses)]
    assert found.suggestion == found.rates[falls.index(min(falls))]
    assert found.suggestion < found.turning
    assert found.reason == ""


def test_rates_grow_by_one_factor_from_the_lowest_to_the_highest() -> None:
    found = descend(1e-3, lowest=1e-3, highest=1e-1, steps=5)
    assert found.rates == pytest.approx([1e-3, 10**-2.5, 1e-2, 10**-1.5, 1e-1])
    assert (found.diverged, found.turning, len(found.losses)) == (False, None, 5)


def test_the_running_mean_is_that_of_the_formula() -> None:
    found = descend(1.0, smoothing=0.8, steps=40)
    weights = [0.8 ** (7 - step) for step in range(8)]
    mean = sum(w * loss for w, loss in zip(weights, found.losses[:8], strict=True)) / sum(weights)
    assert found.smoothed[7] == pytest.approx(mean)


def test_nothing_of_the_users_is_disturbed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3)).eval()
    optimizer = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.1}])
    x, y = torch.randn(20, 4), torch.randint(3, (20,))
    loss = nn.functional.cross_entropy
    fit(model, lambda epoch: [(x, y)], loss, optimizer=optimizer, epochs=2)
    optimizer.zero_grad()
    loss(model(x), y).backward()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    gradients = [None if each.grad is None else each.grad.clone() for each in model.parameters()]
    places = [each.data_ptr() for each in model.parameters()]
    generator = torch.get_rng_state()
    found = find_learning_rate(model, lambda epoch: [(x, y)], loss, optimizer=optimizer, highest=1e4)
    assert found.diverged
    assert len(found.losses) > 10
    for kept, now in zip(before, (model.state_dict(), optimizer.state_dict()), strict=True):
        assert_same(kept, now)
    for gradient, each, place in zip(gradients, model.parameters(), places, strict=True):
        assert gradient is each.grad or torch.equal(gradient, each.grad)
        assert each.data_ptr() == place
    assert torch.equal(generator, torch.get_rng_state())
    assert not model.training
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 0.1]
    assert found == find_learning_rate(model, lambda epoch: [(x, y)], loss, optimizer=optimizer, highest=1e4)


def assert_same(one: object, other: object) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def test_the_optimizers_state_and_its_groups_ratio_go_with_the_copy() -> None:
    model = nn.ParameterList([torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)])
    optimizer = torch.optim.SGD([{"params": [model[0]], "lr": 0.5}, {"params": [model[1]], "lr": 1.0}], momentum=0.9)
    for each, speed in zip(model, (1.0, 0.0), strict=True):
        optimizer.state[each]["momentum_buffer"] = torch.full((1,), speed, dtype=torch.float64)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = model

        def forward(self, x: Tensor) -> Tensor:
            return self.both[0] + 10 * self.both[1]

    found = find_learning_rate(
        Both(),
        lambda epoch: DATA,
        lambda output, _: output.sum(),
        optimizer=optimizer,
        lowest=0.01,
        highest=0.02,
        steps=3,
    )
    # v = 0.9 · 1 + 1 at the rate 0.01; v = 10 at twice that.
    assert found.losses[0] - found.losses[1] == pytest.approx(0.01 * 1.9 + 10 * 0.02 * 10)


def test_what_optimizers_keep_beside_groups_and_state_goes_with_the_copy() -> None:
    for optimizer in (lion, adan):
        model = Point()
        rule = optimizer(model.parameters(), lr=0.3)
        # A scheduler puts a step in place that is the original's.
        torch.optim.lr_scheduler.LambdaLR(rule, lambda _: 1.0)
        found = find_learning_rate(model, lambda epoch: DATA, lambda place, _: place.square().sum(), optimizer=rule)
        assert found.losses[-1] != found.losses[0]
        assert model.place.item() == 1


def test_a_loss_that_never_falls_has_no_suggestion_and_says_why() -> None:
    never = (None, "the loss never falls below its first value")
    model = Point()
    uphill = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    rising = find_learning_rate(model, lambda epoch: DATA, lambda place, _: place.square().sum(), optimizer=uphill)
    assert (rising.suggestion, rising.reason) == never
    assert rising.turning == rising.rates[0]
    # The running mean of a constant is one but for rounding.
    still = find_learning_rate(
        model,
        lambda epoch: DATA,
        lambda place, _: 0.7 + 0 * place.sum(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
    assert (still.suggestion, still.reason) == never
    generator = torch.Generator().manual_seed(0)
    noise = find_learning_rate(
        model,
        lambda epoch: [(torch.zeros(1), torch.randn(1, generator=generator))],
        lambda place, target: 5 + (target + 0 * place).sum(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
    assert noise.suggestion is None
    assert "no more than twice" in noise.reason


def test_a_loss_that_is_not_finite_is_a_divergence_and_at_once_an_error() -> None:
    def loss(place: Tensor, _: Tensor) -> Tensor:
        # Its root is not real once the place has gone below 0.
        return place.sum() + 0 * place.sqrt().sum()

    model = Point()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = find_learning_rate(model, lambda epoch: DATA, loss, optimizer=optimizer, lowest=0.01, smoothing=0.0)
    assert found.diverged
    assert found.turning == found.rates[-1]
    assert all(math.isfinite(each) for each in found.losses)
    with torch.no_grad():
        model.place.fill_(-1.0)
    with pytest.raises(MeasurementError, match="nan"):
        find_learning_rate(model, lambda epoch: DATA, loss, optimizer=optimizer)


def test_what_cannot_be_searched_is_named() -> None:
    for settings, message in (
        ({"lowest": 0.0}, "lowest is 0.0"),
        ({"lowest": 200.0}, "lowest is 200.0"),
        ({"steps": 2}, "steps is 2"),
        ({"smoothing": 1.0}, "smoothing is 1.0"),
        ({"limit": 1.0}, "limit is 1.0"),
    ):
        with pytest.raises(UsageError, match=message):
            descend(1.0, **settings)
    model = Point()
    with pytest.raises(UsageError, match="first group is 0"):
        find_learning_rate(
            model,
            lambda epoch: DATA,
            nn.functional.mse_loss,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        )
    with pytest.raises(UsageError, match="updates none"):
        find_learning_rate(
            model,
            lambda epoch: DATA,
            nn.functional.mse_loss,
            optimizer=torch.optim.SGD(Point().parameters(), lr=0.1),
        )
