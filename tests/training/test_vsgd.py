from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.training import VSGD

GRADIENTS = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3


def run(optimizer: torch.optim.Optimizer, weight: Tensor) -> list[list[float]]:
    course = []
    for gradient in GRADIENTS:
        weight.grad = gradient.clone()
        optimizer.step()
        assert torch.equal(weight.grad, gradient)
        course.append(weight.tolist())
    return course


def doubles(values: list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def start() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))


@pytest.mark.demonstrates("repo-vsgd")
@pytest.mark.parametrize("strength", [1e-8, 0.7])
def test_it_follows_the_papers_posteriors_on_a_scripted_sequence(strength: float) -> None:
    weight, ratio, lr = start(), 5.0, 0.05
    begin = weight.tolist()
    optimizer = VSGD([weight], lr=lr, variance_ratio=ratio, prior_strength=strength, shape_offset=0)
    course = run(optimizer, weight)
    for column, x in enumerate(begin):
        mean, shape, drift_rate, noise_rate = 0.0, strength, strength, ratio * strength
        for t, seen in enumerate(GRADIENTS[:, column].tolist(), start=1):
            # Two Gaussian beliefs of precision E ω and E ω̂, multiplied: precisions add, means are weighted by them.
            of_drift, of_noise = shape / drift_rate, shape / noise_rate
            variance = 1 / (of_drift + of_noise)
            new = variance * (of_drift * mean + of_noise * seen)
            # The posterior rates: the prior's and half the expected squared deviation, E(g − c)² = σ² + (μ − c)².
            rates = [
                prior + (variance + (new - centre) ** 2) / 2
                for prior, centre in ((strength, mean), (ratio * strength, seen))
            ]
            drift_rate += t**-0.81 * (rates[0] - drift_rate)
            noise_rate += t**-0.9 * (rates[1] - noise_rate)
            x -= lr * new / (math.sqrt(new**2 + variance) + 1e-8)
            mean, shape = new, strength + 0.5
            # Some 40 roundings of 1e-16 a step of numbers of order 1; the row asks for 1e-7.
            assert course[t - 1][column] == pytest.approx(x, abs=1e-10)
        assert optimizer.state[weight]["mean"][column].item() == pytest.approx(mean, abs=1e-10)


def test_it_is_the_authors_with_their_offset() -> None:
    from pytorch_optimizer import VSGD as Theirs  # noqa: N811 - the same name

    ours, theirs, papers = start(), start(), start()
    arguments = {"lr": 0.05, "weight_decay": 0.1}
    one = run(VSGD([ours], **arguments), ours)
    assert doubles(one).allclose(doubles(run(Theirs([theirs], **arguments), theirs)), rtol=0, atol=1e-10)
    # At first their σ² is γ/(γ + 5e-5) of the paper's.
    other = run(VSGD([papers], shape_offset=0, **arguments), papers)
    assert not doubles(other).allclose(doubles(one), rtol=0, atol=1e-3)


def test_a_step_is_bounded_by_the_rate_and_reaches_it_on_a_steady_gradient() -> None:
    weight = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer, before = VSGD([weight], lr=0.01), weight.detach().clone()
    for _ in range(300):
        weight.grad = torch.tensor([0.1, 1.0, -50.0, 2.0], dtype=torch.float64)
        optimizer.step()
        step, before = weight.detach() - before, weight.detach().clone()
        assert step.abs().max() <= 0.01
    # The variance that it infers falls as the first steps are forgotten, and with it what is missing from η.
    assert step.tolist() == pytest.approx([-0.01, -0.01, 0.01, -0.01], rel=5e-3)


def test_on_a_quadratic_it_goes_by_its_rate_a_step_whatever_the_curvature() -> None:
    curvatures = torch.tensor([0.1, 1.0, 100.0], dtype=torch.float64)
    weight, places = nn.Parameter(torch.ones(3, dtype=torch.float64)), []
    optimizer = VSGD([weight], lr=1e-3)
    for _ in range(1500):
        weight.grad = curvatures * weight.detach()
        optimizer.step()
        places.append(weight.detach().clone())
    course = torch.stack(places)
    steps = (course[200:600] - course[201:601]) / 1e-3
    # μ/√(μ² + σ²): what is missing from 1 is the share of the variance that is still inferred.
    assert 0.98 < steps.min() < steps.max() < 1
    # At the minimum it stays within ten of its largest steps.
    assert course[1200:].abs().max() < 0.01


def test_on_a_noisy_quadratic_its_mean_is_nearer_to_the_gradient_than_what_it_sees() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.ones(2000, dtype=torch.float64))
    optimizer = VSGD([weight], lr=1e-3)
    for _ in range(100):
        true = weight.detach().clone()
        weight.grad = true + torch.randn(2000, generator=generator, dtype=torch.float64)
        optimizer.step()
    # The seen gradient's squared error is 1, over 2000 weights with a deviation of √(2/2000) = 0.03.
    assert (optimizer.state[weight]["mean"] - true).square().mean() < 0.9


def test_wrong_arguments_are_named() -> None:
    for name, value in {
        "lr": -1.0,
        "variance_ratio": 0.0,
        "prior_strength": math.nan,
        "forgetting": (0.5, 0.9),
        "shape_offset": -1e-3,
        "eps": math.inf,
        "weight_decay": -0.1,
    }.items():
        with pytest.raises(UsageError, match=name):
            VSGD([start()], **{name: value})
