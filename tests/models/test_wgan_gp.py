"""The gradient penalty, and the critic that tells distances."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.models import (
    GAN,
    critic_loss,
    gradient_penalty,
    train_adversarially,
    wasserstein_generator_loss,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded())


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope() -> None:
    real, fake = numbers(8, 3), numbers(8, 3) + 1
    direction = numbers(3) / numbers(3).norm()
    # Squares of a rounding error.
    assert float(gradient_penalty(lambda x: x @ direction, real, fake)) < 1e-30
    assert float(gradient_penalty(lambda x: 3 * x @ direction, real, fake)) == pytest.approx(4, rel=1e-12)
    assert float(gradient_penalty(lambda x: 0 * x.sum(1), real, fake)) == 1


def test_the_penalty_is_taken_on_the_lines_between_pairs() -> None:
    """D = ‖x‖²/2 has the slope x."""
    real, fake = numbers(8, 2, 3), numbers(8, 2, 3) + 1
    share = torch.rand(8, 1, 1, dtype=torch.float64, generator=seeded())
    between = share * real + (1 - share) * fake
    wanted = sum((float(each.norm()) - 1) ** 2 for each in between) / 8
    found = gradient_penalty(lambda x: x.square().sum((1, 2)) / 2, real, fake, generator=seeded())
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-12)


def test_its_gradient_is_right() -> None:
    torch.manual_seed(0)
    model, real, fake = GAN(3, 2, (), (4,), activation="tanh").double(), numbers(5, 3), numbers(5, 3) + 1
    weights = (model.discriminator.hidden1.weight, model.discriminator.output.weight)
    assert torch.autograd.gradcheck(
        lambda *given: gradient_penalty(model.discriminate, real, fake, generator=seeded()), weights
    )
    with torch.no_grad():
        alone = gradient_penalty(model.discriminate, real, fake, generator=seeded())
    torch.testing.assert_close(alone, gradient_penalty(model.discriminate, real, fake, generator=seeded()))


@pytest.mark.parametrize("weight", [1.0, 10.0, 1e6])
def test_the_best_critic_of_two_points_tells_their_distance(weight: float) -> None:
    torch.manual_seed(0)
    model, here, there = GAN(2, 1, (), ()).double(), torch.tensor([3.0, 1.0]), torch.tensor([0.0, -3.0])
    distance = 5.0
    with torch.no_grad():
        model.generator.output.weight.zero_()
        model.generator.output.bias.copy_(there)
    real = here.double().repeat(4, 1)
    optimizer = torch.optim.LBFGS(
        model.discriminator.parameters(),
        max_iter=500,
        tolerance_grad=1e-9,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = critic_loss(model, real, weight=weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    least = float(critic_loss(model, real, weight=weight).detach())
    told = float((model.discriminate(real)[0] - model.discriminate(there.double()[None])[0]).detach())
    # With the slope w along the line the loss is −w d + λ (w − 1)².
    assert least == pytest.approx(-distance - distance**2 / (4 * weight), rel=1e-6)
    assert told == pytest.approx(distance + distance**2 / (2 * weight), rel=1e-6)
    if weight == 1e6:
        assert told == pytest.approx(distance, rel=1e-5)


def test_the_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    model, x = GAN(4, 2, (5,), (6,)).double(), numbers(7, 4)
    generator = seeded()
    z = torch.randn(7, 2, dtype=torch.float64, generator=generator)
    fake = model.generator(z).detach()
    penalty = gradient_penalty(model.discriminate, x, fake, generator=generator)
    wanted = model.discriminator(fake).mean() - model.discriminator(x).mean() + 10 * penalty
    torch.testing.assert_close(critic_loss(model, x, generator=seeded()), wanted, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        wasserstein_generator_loss(model, x, generator=seeded()), -model.discriminator(fake).mean()
    )
    critic_loss(model, x).backward()
    assert all(each.grad is None for each in model.generator.parameters())


def test_training_moves_the_generator_to_the_data() -> None:
    torch.manual_seed(0)
    model, mean, generator = GAN(2, 2, (), (32,), activation="tanh"), torch.tensor([1.5, -1.0]), seeded()
    critic = torch.optim.Adam(model.discriminator.parameters(), lr=0.02, betas=(0.0, 0.9))

    def distance_after(steps: int, rate: float) -> float:
        history = train_adversarially(
            model,
            (mean + 0.5 * torch.randn(32, 2, generator=generator) for _ in range(3 * steps)),
            critic_loss=critic_loss,
            generator_loss=wasserstein_generator_loss,
            critic_optimizer=critic,
            generator_optimizer=torch.optim.Adam(model.generator.parameters(), lr=rate, betas=(0.0, 0.9)),
            steps=steps,
            critic_steps=3,
        )
        assert (len(history.critic), len(history.generator)) == (3 * steps, steps)
        return float((model.sample(2000, generator=seeded(1)).mean(0) - mean).norm())

    assert distance_after(0, 0.02) > 1
    distance_after(80, 0.02)
    # Players at one speed circle around the solution; with a slow generator the critic is nearly the best one.
    assert distance_after(80, 0.004) < 0.25


def test_bad_input_is_refused() -> None:
    model, x = GAN(2, 2, (4,), (4,)), torch.zeros(3, 2)
    for weight in (-1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="weight"):
            critic_loss(model, x, weight=weight)
    for loss in (critic_loss, wasserstein_generator_loss):
        with pytest.raises(UsageError, match="x is"):
            loss(model, x[:0])
    with pytest.raises(UsageError, match="fake"):
        gradient_penalty(model.discriminate, x, x[:2])
    with pytest.raises(UsageError, match="x is"):
        gradient_penalty(model.discriminate, x[:0], x[:0])
