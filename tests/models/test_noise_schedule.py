"""Noise schedules: the distributions that a chain of Gaussian steps makes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import NoiseSchedule, cosine_betas, linear_betas

SCHEDULES = {
    "linear": linear_betas(40),
    "cosine": cosine_betas(40),
    "published": linear_betas(),
    "one": linear_betas(1),
}


def at(time: int, n: int = 1) -> Tensor:
    return torch.full((n,), time)


def one(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_closed_form_is_the_iterated_kernel(name: str) -> None:
    schedule = NoiseSchedule(SCHEDULES[name])
    mean, variance = one(1.0), 0.0
    for time in range(1, schedule.steps + 1):
        # The kernel's mean is what it makes of no noise, its deviation what it makes of a unit of noise at 0.
        mean = schedule.step(mean, at(time), one(0.0))
        factor, deviation = (float(schedule.step(one(a), at(time), one(b))) for a, b in ((1.0, 0.0), (0.0, 1.0)))
        variance = factor**2 * variance + deviation**2
        # A product of up to 1000 numbers, each with a rounding error.
        assert float(mean) == pytest.approx(float(schedule.diffuse(one(1.0), at(time), one(0.0))), rel=1e-12)
        assert variance == pytest.approx(float(schedule.diffuse(one(0.0), at(time), one(1.0))) ** 2, rel=1e-11)
    assert variance > 0


@pytest.mark.parametrize("name", ["linear", "cosine", "one"])
def test_the_posterior_is_that_of_bayes(name: str) -> None:
    """The joint of xₜ₋₁ and xₜ given x₀ is Gaussian: condition it on xₜ."""
    schedule, x0, xt = NoiseSchedule(SCHEDULES[name]), 0.7, -0.4
    for time in range(1, schedule.steps + 1):
        left = schedule.alphas_bar[time - 1]
        prior_mean, prior_variance = left.sqrt() * x0, 1 - left
        a, b = float(schedule.step(one(1.0), at(time), one(0.0))), float(schedule.step(one(0.0), at(time), one(1.0)))
        gain = prior_variance * a / (a**2 * prior_variance + b**2)
        mean, variance = schedule.posterior(one(x0), one(xt), at(time))
        assert float(mean) == pytest.approx(float(prior_mean + gain * (xt - a * prior_mean)), rel=1e-10)
        assert float(variance) == pytest.approx(float((1 - gain * a) * prior_variance), rel=1e-10, abs=1e-15)
    # At the first time x₀ is what is left: no doubt about it.
    mean, variance = schedule.posterior(one(x0), one(xt), at(1))
    assert (float(mean), float(variance)) == (pytest.approx(x0), 0.0)


def test_denoising_undoes_diffusion_where_the_noise_is_known() -> None:
    schedule, generator = NoiseSchedule(linear_betas(40)), torch.Generator().manual_seed(0)
    x, noise = (torch.randn(40, 3, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    times = torch.arange(1, 41)
    there = schedule.diffuse(x, times, noise)
    torch.testing.assert_close(schedule.denoised(there, times, noise), x, rtol=1e-12, atol=1e-12)
    assert schedule.variance(times, x).shape == (40, 1, 1)
    torch.testing.assert_close(schedule.variance(times, x).flatten(), linear_betas(40), rtol=0, atol=0)


def test_linear_variances_are_the_papers() -> None:
    betas = linear_betas()
    assert len(betas) == 1000
    assert (float(betas[0]), float(betas[-1])) == (1e-4, 0.02)
    torch.testing.assert_close(
        betas.diff(), torch.full((999,), (0.02 - 1e-4) / 999, dtype=torch.float64), rtol=1e-9, atol=0
    )
    # What the paper says of x_T: its divergence from N(0, I) is about 1e-5 bits a dimension.
    assert float(NoiseSchedule(betas).alphas_bar[-1]) == pytest.approx(4.04e-5, rel=1e-2)


def test_cosine_variances_have_the_share_they_are_named_after() -> None:
    betas, s = cosine_betas(100), 0.008
    left = (1 - betas).cumprod(0)
    for time in range(1, 100):
        wanted = math.cos(math.pi / 2 * (time / 100 + s) / (1 + s)) ** 2 / math.cos(math.pi / 2 * s / (1 + s)) ** 2
        assert float(left[time - 1]) == pytest.approx(wanted, rel=1e-10)
    assert float(betas[-1]) == 0.999
    assert cosine_betas(1).tolist() == [0.999]
    assert float(cosine_betas(100, largest=0.5).max()) == 0.5
    # Without an offset ᾱ of two steps is cos²(π/4) at the first.
    assert cosine_betas(2, offset=0.0, largest=0.9).tolist() == pytest.approx([0.5, 0.9], rel=1e-12)


def test_small_noise_keeps_its_digits() -> None:
    schedule = NoiseSchedule(torch.tensor([1e-12], dtype=torch.float64))
    # 1 − (1 − 1e-12) has four digits.
    assert float(schedule.noise(at(1), one(0.0))) == pytest.approx(1e-6, rel=1e-14)
    assert schedule.noise(at(1), torch.zeros(1)).dtype == torch.float32


@pytest.mark.parametrize(
    "betas",
    [
        torch.tensor([0.1, 0.0]),
        torch.tensor([0.1, 1.0]),
        torch.tensor([-0.1]),
        torch.tensor([1.5]),
        torch.tensor([math.nan]),
        torch.zeros(0),
        torch.full((2, 2), 0.1),
        torch.tensor([1]),
    ],
)
def test_variances_outside_of_0_and_1_are_refused(betas: Tensor) -> None:
    with pytest.raises(UsageError, match="betas"):
        NoiseSchedule(betas)


def test_other_bad_input_is_refused() -> None:
    for of in (linear_betas, cosine_betas):
        for steps in (0, -1, 2.5, True):
            with pytest.raises(UsageError, match="steps"):
                of(steps)
    for given in ({"first": 0.0}, {"last": 1.0}, {"first": math.nan}):
        with pytest.raises(UsageError, match=next(iter(given))):
            linear_betas(3, **given)
    for given in ({"offset": -0.1}, {"largest": 1.0}, {"offset": math.inf}):
        with pytest.raises(UsageError, match=next(iter(given))):
            cosine_betas(3, **given)
    schedule, x = NoiseSchedule(linear_betas(5)), torch.zeros(2, 3)
    for wrong in ([0, 1], [1, 6], [1], [1.0, 2.0], 1):
        times = torch.tensor(wrong)
        with pytest.raises(UsageError, match="times"):
            schedule.diffuse(x, times, x)
