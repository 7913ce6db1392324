"""Affine couplings and RealNVP: an invertible map whose density is exact."""

from __future__ import annotations

import math

import pytest
import torch
from contract import behaves, overfits, squared_error
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models import AffineCoupling, Objective, RealNVP, negative_log_likelihood
from deepscope.training import fit


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def stirred(model: nn.Module, size: float = 0.5) -> nn.Module:
    """Add noise to the last weights, which begin at 0 and make the flow the identity."""
    generator = torch.Generator().manual_seed(2)
    for name, each in model.named_parameters():
        if "output" in name or "scale" in name:
            each.data += size * torch.randn(each.shape, generator=generator).to(each)
    return model


def flow(features: int = 5, num_layers: int = 6, size: float = 0.5) -> RealNVP:
    torch.manual_seed(0)
    model = stirred(RealNVP(features, num_layers, (8,), activation="tanh").double(), size)
    assert isinstance(model, RealNVP)
    return model


@pytest.mark.parametrize("features", [2, 5, 6])
def test_its_log_determinant_is_autograds_and_its_inverse_exact(features: int) -> None:
    model, x = flow(features), numbers(7, features)
    z, log_determinant = model.transform(x)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda each: model(each[None])[0], one) for one in x])
    # Doubles through 6 layers with scales of order e: a hundred units in the last place.
    torch.testing.assert_close(log_determinant, torch.linalg.slogdet(jacobians)[1], rtol=0, atol=1e-10)
    torch.testing.assert_close(model.inverse(z), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(model.transform(model.inverse(x))[0], x, rtol=0, atol=1e-10)
    assert (z - x).abs().max() > 0.5
    assert log_determinant.abs().max() > 0.5
    # Planted: a sign of the scale that is wrong in one layer.
    model.layers[0].scale.data *= -1
    assert (model.inverse(z) - x).abs().max() > 1e-3
    assert (model.transform(x)[1] - torch.linalg.slogdet(jacobians)[1]).abs().max() > 1e-3


@torch.no_grad()
def test_its_density_integrates_to_one_and_its_samples_follow_it() -> None:
    model, step = flow(2, 4, 0.3), 0.16
    axis = torch.arange(-40, 40, step, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = model.log_prob(grid).exp() * step**2
    # The sum over a grid of a smooth density that has vanished at the border converges faster than any power of the
    # step, and is exact but for rounding here.
    assert abs(float(density.sum()) - 1) < 1e-10
    mean = (density[:, None] * grid).sum(0)
    spread = torch.einsum("n,ni,nj->ij", density, grid - mean, grid - mean)
    assert (spread - torch.eye(2)).abs().max() > 0.3
    x, n = model.sample(20_000, generator=torch.Generator().manual_seed(0)), 20_000
    # Five standard errors; of products from the samples' own spread.
    assert ((x.mean(0) - mean).abs() < 5 * (spread.diagonal() / n).sqrt()).all()
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert ((products.mean(0) - spread).abs() < 5 * products.std(0) / n**0.5).all()


@torch.no_grad()
def test_it_computes_its_formula() -> None:
    model, x = flow(5, 2), numbers(3, 5)
    for sample, z, log_prob in zip(x.tolist(), model(x).tolist(), model.log_prob(x).tolist(), strict=True):
        values, total = list(sample), 0.0
        for index, layer in enumerate(model.layers):
            kept = [i for i in range(5) if i % 2 == index % 2]
            changed = [i for i in range(5) if i % 2 != index % 2]
            outputs = layer.network(torch.tensor([[values[i] for i in kept]], dtype=torch.float64))[0].tolist()
            for place, i in enumerate(changed):
                scale = float(layer.scale[place]) * math.tanh(outputs[place])
                values[i] = values[i] * math.exp(scale) + outputs[len(changed) + place]
                total += scale
        assert z == pytest.approx(values, rel=1e-10)
        gaussian = -sum(each**2 for each in values) / 2 - 2.5 * math.log(2 * math.pi)
        assert log_prob == pytest.approx(gaussian + total, rel=1e-10)


def test_it_begins_as_the_identity_and_trains_from_there() -> None:
    x = numbers(4, 6).float()
    model = RealNVP(6, 4, (8,))
    torch.testing.assert_close(model(x), x, rtol=0, atol=0)
    negative_log_likelihood(model, x).backward()
    for layer in model.layers:
        assert layer.network.output.weight.grad.abs().max() > 1e-4


def test_training_finds_a_density() -> None:
    """x₂ = x₁² + noise/2: the entropy is that of a Gaussian of 2 with a determinant of ½; no density does better."""
    x = numbers(2000, 2).float()
    x = torch.stack([x[:, 0], x[:, 0] ** 2 + x[:, 1] / 2], 1)
    torch.manual_seed(0)
    model = RealNVP(2, 4, (16,), activation="tanh")
    entropy = 1 + math.log(2 * math.pi) - math.log(2)
    before = float(negative_log_likelihood(model, x).detach())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    objective = Objective(model, negative_log_likelihood)
    fit(objective, lambda epoch: [(x, x)], Objective.value, optimizer=optimizer, epochs=250)
    after = float(negative_log_likelihood(model, x).detach())
    # The best Gaussian has variances 1 and 2 + ¼ and no correlation: 0.5 ln 2.25 + ln 2 = 1.1 nats above.
    assert before > entropy + 1
    # The mean of −ln p over 2000 samples of deviation 1 a sample is known to 0.05.
    assert entropy - 0.1 < after < entropy + 0.15


def test_it_overfits_sixteen_samples() -> None:
    torch.manual_seed(0)
    x, targets = numbers(16, 6).float(), 2 * torch.randn(16, 6, generator=torch.Generator().manual_seed(3))
    overfits(RealNVP(6, 4, (64,)), x, targets, squared_error, steps=800, below=2e-2)


def test_they_behave() -> None:
    x = numbers(4, 6).float()
    for build in (lambda: AffineCoupling(6, (8,), odd=True), lambda: RealNVP(6, 3, (8,))):
        behaves(stirred(build()), build(), x)
    odd, even = AffineCoupling(5, (8,), odd=True), AffineCoupling(5, (8,))
    for layer, kept in ((odd, [1, 3]), (even, [0, 2, 4])):
        stirred(layer)
        same = (layer(x[:, :5]) == x[:, :5]).all(0).nonzero().flatten().tolist()
        assert same == kept


def test_bad_input_is_refused() -> None:
    for build in (AffineCoupling, RealNVP):
        for features in (0, 1):
            with pytest.raises(UsageError, match="features"):
                build(features)
        with pytest.raises(UsageError, match="hidden"):
            build(4, hidden=(0,))
        with pytest.raises(UsageError, match="relu"):
            build(4, activation="rellu")
    with pytest.raises(UsageError, match="num_layers"):
        RealNVP(4, 0)
    model = RealNVP(4, 2, (8,))
    for x in (torch.zeros(2, 5), torch.zeros(4), torch.zeros(2, 4, dtype=torch.int64)):
        for of in (model, model.inverse, model.log_prob, model.layers[0].inverse):
            with pytest.raises(UsageError, match="4"):
                of(x)
    with pytest.raises(UsageError, match="n is"):
        model.sample(0)
    with pytest.raises(UsageError, match="x is"):
        negative_log_likelihood(model, torch.zeros(0, 4))
