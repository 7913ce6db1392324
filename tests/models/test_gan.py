"""Generative adversarial networks: what the best discriminator is."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import behaves, overfits
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import GAN, Objective, binary_discrimination, discriminator_loss, generator_loss


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def best(real: list[int], fake: list[int]) -> tuple[Tensor, float]:
    """Return the probabilities that the best discriminator gives to 4 places, and its loss, from samples of them."""
    logits = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-13, tolerance_change=0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = binary_discrimination(logits[real], logits[fake])
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().sigmoid(), float(binary_discrimination(logits[real], logits[fake]).detach())


def test_the_best_discriminator_is_the_share_of_the_real_density() -> None:
    real, fake = [0] * 4 + [1] * 3 + [2] * 2 + [3], [0] * 1 + [1] * 3 + [2] * 4 + [3] * 2
    p, q = (torch.bincount(torch.tensor(each)).double() / 10 for each in (real, fake))
    found, loss = best(real, fake)
    torch.testing.assert_close(found, p / (p + q), rtol=0, atol=1e-10)
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    assert loss == pytest.approx(math.log(4) - 2 * float(divergence), abs=1e-12)
    assert loss < math.log(4) - 0.05
    # Where both are alike the value of the game, minus the loss, is −ln 4, and the best guess a coin.
    found, loss = best(real, real)
    torch.testing.assert_close(found, torch.full((4,), 0.5).double(), rtol=0, atol=1e-12)
    assert -loss == pytest.approx(-math.log(4), abs=1e-14)


@torch.no_grad()
def test_its_losses_are_their_formulas() -> None:
    torch.manual_seed(0)
    model, x = GAN(4, 2, (5,), (6,)).double(), torch.randn(7, 2, 2, dtype=torch.float64)
    z = torch.randn(7, 2, dtype=torch.float64, generator=seeded())
    real = model.discriminator(x).sigmoid()
    fake = model.discriminator(model.generator(z)).sigmoid()
    wanted = -(real.log().mean() + (1 - fake).log().mean())
    torch.testing.assert_close(discriminator_loss(model, x, generator=seeded()), wanted, rtol=1e-13, atol=0)
    torch.testing.assert_close(generator_loss(model, x, generator=seeded()), -fake.log().mean(), rtol=1e-13, atol=0)
    saturating = generator_loss(model, x, saturating=True, generator=seeded())
    torch.testing.assert_close(saturating, (1 - fake).log().mean(), rtol=1e-13, atol=0)
    torch.testing.assert_close(model(z)[:, 0], model.discriminate(model.generate(z)), rtol=0, atol=0)


def test_certain_logits_keep_the_losses_finite_and_a_gradient() -> None:
    logits = torch.tensor([-200.0], requires_grad=True)
    loss = nn.functional.softplus(-logits).mean()
    assert float(binary_discrimination(torch.tensor([-200.0]), torch.tensor([200.0]))) == 400
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(gradient) == -1


def test_the_gradient_goes_where_it_should() -> None:
    torch.manual_seed(0)
    model, x = GAN(4, 2, (5,), (6,)), torch.randn(7, 4)
    discriminator_loss(model, x).backward()
    assert all(each.grad is None for each in model.generator.parameters())
    assert all(each.grad is not None for each in model.discriminator.parameters())
    generator_loss(model, x).backward()
    assert all(each.grad is not None and each.grad.any() for each in model.generator.parameters())


def test_the_saturating_loss_loses_its_gradient() -> None:
    """Where the discriminator is certain the gradient of ln(1 − D) is σ(D), and that of −ln D is 1 − σ(D)."""
    torch.manual_seed(0)
    sizes = []
    for saturating in (True, False):
        model = GAN(4, 2, (), ())
        nn.init.constant_(model.discriminator.output.bias, -20.0)
        generator_loss(model, torch.zeros(7, 4), saturating=saturating, generator=seeded()).backward()
        sizes.append(float(model.generator.output.bias.grad.norm()))
    assert sizes[0] < 1e-7
    assert sizes[1] > 1e-2


def test_each_network_overfits_sixteen_samples() -> None:
    """Against a generator, or a discriminator, that stands still the least loss is 0."""
    torch.manual_seed(0)
    model, x = GAN(4, 2, (16,), (32,)), torch.randn(16, 4, generator=seeded())
    for of, network in ((discriminator_loss, model.discriminator), (generator_loss, model.generator)):
        model.requires_grad_(False)
        network.requires_grad_(True)

        def against(given: GAN, batch: Tensor, of: object = of) -> Tensor:
            return of(given, batch, generator=seeded(1))

        overfits(Objective(model, against), x, x, Objective.value, steps=800, below=0.03)


def test_both_networks_have_the_activation() -> None:
    model = GAN(4, 2, (5, 3), (6,), activation="tanh")
    for network, count in ((model.generator, 2), (model.discriminator, 1)):
        assert sum(isinstance(each, nn.Tanh) for each in network) == count


def test_samples_are_repeated_by_their_seed() -> None:
    torch.manual_seed(0)
    model = GAN(4, 2, (5,), (6,), output_activation="sigmoid")
    x = model.sample(9, generator=seeded())
    assert torch.equal(x, model.sample(9, generator=seeded()))
    assert not x.requires_grad
    assert x.min() > 0
    assert x.max() < 1
    z = torch.randn(9, 2, generator=seeded())
    torch.testing.assert_close(x, model.generator(z).sigmoid().detach())
    behaves(model, GAN(4, 2, (5,), (6,), output_activation="sigmoid"), z)


def test_bad_input_is_refused() -> None:
    for given in ({"features": 0}, {"latent": 0}, {"generator": (0,)}, {"discriminator": (3, 0)}):
        with pytest.raises(UsageError, match=next(iter(given))):
            GAN(**given)
    model = GAN(4, 2, (5,), (6,))
    for of, size in ((model, 2), (model.discriminate, 4), (partial(discriminator_loss, model), 4)):
        for x in (torch.zeros(3, 5), torch.zeros(3, size, dtype=torch.int64)):
            with pytest.raises(UsageError, match=str(size)):
                of(x)
    for loss in (discriminator_loss, generator_loss):
        with pytest.raises(UsageError, match="x is"):
            loss(model, torch.zeros(0, 4))
    for real, fake, name in ((torch.zeros(0), torch.zeros(1), "real"), (torch.zeros(1), torch.zeros(0), "fake")):
        with pytest.raises(UsageError, match=name):
            binary_discrimination(real, fake)
    with pytest.raises(UsageError, match="n is"):
        model.sample(0)
