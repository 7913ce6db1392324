"""Concrete dropout: the relaxed mask, its gradient, and the rate that is learnt."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from deepscope.core import UsageError
from deepscope.training import ConcreteDropout, fit

#: Middles of equal parts: the mean over them of a smooth function of u is its integral.
U = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000


def layer(p: float, temperature: float = 0.1) -> ConcreteDropout:
    made = ConcreteDropout(p, temperature=temperature).double()
    with torch.no_grad():
        made.logit.fill_(math.log(p) - math.log1p(-p))
    return made


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_mask_and_its_gradient_have_the_closed_form(p: float, temperature: float) -> None:
    """With m = (1 − z)/(1 − p): dm/d logit = (p (1 − z) − z (1 − z)/t)/(1 − p)."""
    made, u = layer(p, temperature), U[::500].requires_grad_(False)
    z = torch.sigmoid((math.log(p / (1 - p)) + (u / (1 - u)).log()) / temperature)
    torch.testing.assert_close(made.relaxed_mask(u), (1 - z) / (1 - p), rtol=1e-12, atol=1e-12)
    gradient = torch.stack([torch.autograd.grad(made.relaxed_mask(each), made.logit)[0] for each in u])
    torch.testing.assert_close(gradient, (p * (1 - z) - z * (1 - z) / temperature) / (1 - p), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("p", [0.1, 0.35])
def test_it_is_dropout_as_the_temperature_goes_to_zero(p: float) -> None:
    with torch.no_grad():
        # At every temperature more is dropped than kept for a share p of all u, to the one part that p may split.
        for temperature in (1.0, 0.1):
            dropped = layer(p, temperature).relaxed_mask(U) * (1 - p) < 0.5
            assert abs(dropped.double().mean().item() - p) <= 1 / len(U)
        mask = layer(p, 1e-4).relaxed_mask(U)
    # A share of some t of all u is in between.
    assert abs(mask.mean().item() - 1) < 1e-3
    assert abs(mask.var().item() - p / (1 - p)) < 2e-3
    near = ((mask < 1e-6) | ((mask - 1 / (1 - p)).abs() < 1e-6)).double().mean()
    assert near > 0.999


def test_mean_and_variance_at_the_default_temperature() -> None:
    """The numbers that the docstring names; of half the mean is 1, by symmetry."""
    with torch.no_grad():
        assert layer(0.1).relaxed_mask(U).mean().item() == pytest.approx(0.9987, abs=5e-5)
        assert layer(0.5).relaxed_mask(U).mean().item() == pytest.approx(1, abs=1e-9)
        torch.manual_seed(0)
        made, n = layer(0.2), 100_000
        y = made(torch.full((n,), -2.0, dtype=torch.float64))
        exact = -2 * made.relaxed_mask(U)
    # Five standard deviations of the mean, and of the squares' mean: their variance is below the fourth moment.
    assert abs(y.mean() - exact.mean()) < 5 * (exact.var() / n).sqrt()
    assert abs(y.square().mean() - exact.square().mean()) < 5 * (exact.pow(4).mean() / n).sqrt()


@pytest.mark.parametrize("p", [0.03, 0.8])
def test_the_learnt_rate_is_the_optimum_of_a_known_objective(p: float) -> None:
    """One weight w reads one unit x and has to give w x: the loss is (w x)² E (m − 1)² − 2 H(p), with w x = 1.

    For dropout itself E (m − 1)² = p/(1 − p), and the optimum solves 1/(1 − p)² = 2 log((1 − p)/p): p = 0.277. For
    t = 0.1 it is found here on a grid, by integration over u.
    """
    grid = torch.linspace(0.2, 0.4, 201, dtype=torch.float64)
    entropy = -grid * grid.log() - (1 - grid) * (1 - grid).log()
    with torch.no_grad():
        noise = torch.stack([(layer(each).relaxed_mask(U) - 1).square().mean() for each in grid.tolist()])
    optimum = grid[(noise - 2 * entropy).argmin()].item()
    dropout = grid[(grid / (1 - grid) - 2 * entropy).argmin()].item()
    assert dropout == pytest.approx(0.277, abs=1e-3)
    assert 0 < optimum - dropout < 0.02

    made = ConcreteDropout(p)
    ones, nothing = torch.ones(1000, 1), torch.zeros(1, 1)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        # No prior on the fixed weight, and 1/n = 2 for its one unit.
        return mse_loss(outputs, targets) + 2 * made.divergence(nothing)

    reader = nn.Linear(1, 1, bias=False).requires_grad_(False)
    nn.init.ones_(reader.weight)
    rates: list[float] = []
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)

    def recorded(outputs: Tensor, targets: Tensor) -> Tensor:
        rates.append(made.p().item())
        return loss(outputs, targets)

    fit(nn.Sequential(made, reader), lambda epoch: [(ones, ones)] * 300, recorded, optimizer=optimizer, epochs=1)
    assert abs(rates[0] - p) < 1e-6
    # Adam's steps of the logit are 0.05, of p 0.01 each; over 100 of them they average out.
    assert abs(sum(rates[-100:]) / 100 - optimum) < 0.01


def test_the_divergence_is_its_formula() -> None:
    made, weight = layer(0.3), torch.randn(4, 5, dtype=torch.float64)
    entropy = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    dropped = weight / 0.7
    expected = 1.5**2 * 0.7 / 2 * dropped.square().sum() - 5 * entropy
    torch.testing.assert_close(made.divergence(weight, length_scale=1.5), expected, rtol=1e-13, atol=0)
    # Without data p grows to where weights and entropy balance; all that it needs is a finite gradient at both ends.
    for p in (1e-6, 1 - 1e-6):
        extreme = ConcreteDropout(p)
        (gradient,) = torch.autograd.grad(extreme.divergence(torch.ones(2, 2)), extreme.logit)
        assert gradient.isfinite()


def test_evaluation_changes_nothing_and_nan_is_shown() -> None:
    x = torch.tensor([1.0, torch.nan])
    assert torch.equal(ConcreteDropout().eval()(x)[:1], x[:1])
    assert ConcreteDropout()(x).isnan().tolist() == [False, True]


def test_small_rates_drop_in_sixteen_bits_as_well() -> None:
    torch.manual_seed(0)
    y = ConcreteDropout(0.001)(torch.ones(100_000, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    # Of a hundred that are dropped on average, five standard deviations.
    assert abs(int((y < 0.5).sum()) - 100) < 50


def test_bad_input_is_named() -> None:
    for p in (-0.1, 0.0, 1.0, 1.5):
        with pytest.raises(UsageError, match=f"p is {p}"):
            ConcreteDropout(p)
    for temperature in (0.0, -1.0, float("inf")):
        with pytest.raises(UsageError, match="temperature is"):
            ConcreteDropout(temperature=temperature)
    with pytest.raises(UsageError, match="length_scale is 0"):
        ConcreteDropout().divergence(torch.zeros(2, 2), length_scale=0)
    with pytest.raises(UsageError, match=r"Give a weight \[out, units, …\]"):
        ConcreteDropout().divergence(torch.zeros(2))
    with pytest.raises(UsageError, match="int64"):
        ConcreteDropout()(torch.arange(3))
