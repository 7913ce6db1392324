"""Two networks trained in turn, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from deepscope.core import DataError, MeasurementError, UsageError
from deepscope.models import GAN, train_adversarially


def difference(model: GAN, x: Tensor) -> Tensor:
    return model.discriminate(model.sample(len(x))).mean() - model.discriminate(x).mean()


def attraction(model: GAN, x: Tensor) -> Tensor:
    return -model.discriminate(model.draw(len(x))).mean()


def training(model: GAN, batches: list[Tensor], **given: object) -> object:
    arguments = {
        "critic_loss": difference,
        "generator_loss": attraction,
        "critic_optimizer": torch.optim.SGD(model.discriminator.parameters(), lr=0.3),
        "generator_optimizer": torch.optim.SGD(model.generator.parameters(), lr=0.2),
        "steps": 2,
        **given,
    }
    return train_adversarially(model, batches, **arguments)


def line() -> GAN:
    torch.manual_seed(0)
    return GAN(1, 1, (), ()).double()


def weights(model: GAN) -> list[float]:
    return [each.item() for network in (model.discriminator, model.generator) for each in network.parameters()]


def test_it_is_the_recursion_of_two_lines() -> None:
    """D(x) = ψ x + c and G(z) = a z + b: gradients by hand, the critic's twice before the generator's once."""
    model, n = line(), 4
    psi, c, a, b = weights(model)
    batches = [torch.randn(n, 1, dtype=torch.float64) for _ in range(6)]
    torch.manual_seed(5)
    history = training(model, batches, steps=3, critic_steps=2)
    torch.manual_seed(5)
    source: Iterator[Tensor] = iter(batches)
    for step in range(3):
        for turn in range(2):
            z, x = torch.randn(n, 1, dtype=torch.float64), next(source)
            gap = float(a * z.mean() + b - x.mean())
            assert history.critic[2 * step + turn] == pytest.approx(psi * gap, abs=1e-12)
            psi -= 0.3 * gap
        z = torch.randn(n, 1, dtype=torch.float64)
        assert history.generator[step] == pytest.approx(float(-psi * (a * z.mean() + b) - c), abs=1e-12)
        a, b = a + 0.2 * psi * float(z.mean()), b + 0.2 * psi
    assert weights(model) == pytest.approx([psi, c, a, b], abs=1e-12)


def test_no_step_changes_nothing() -> None:
    model = line()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    assert training(model, [], steps=0).critic == []
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_bad_input_is_refused() -> None:
    model, x = line(), torch.zeros(3, 1, dtype=torch.float64)
    for name, value in (("steps", -1), ("steps", 1.5), ("critic_steps", 0), ("critic_steps", True)):
        with pytest.raises(UsageError, match=name):
            training(model, [x] * 4, **{name: value})
    for name in ("critic_optimizer", "generator_optimizer"):
        for wrong in (model.parameters(), line().parameters()):
            with pytest.raises(UsageError, match=name):
                training(model, [x] * 4, **{name: torch.optim.SGD(wrong, lr=0.1)})
    with pytest.raises(DataError, match="step 1"):
        training(model, [x])
    with pytest.raises(MeasurementError, match="critic's, step 1"):
        training(model, [x, x * torch.nan])
