"""Random features: their kernels as means, with the variance that theory gives, and angles from layer to layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import overfits
from scipy.stats import spearmanr
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_approximation import RBFSampler
from torch import Tensor
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import RandomFeatureModel, RandomFourierFeatures, RandomReLUFeatures


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def angles(x: Tensor) -> Tensor:
    """Return the angles of all pairs of rows."""
    unit = x / x.norm(dim=1, keepdim=True)
    first, second = torch.triu_indices(len(x), len(x), 1)
    # By the chord: an arc cosine has no digits for small angles.
    return 2 * torch.asin(((unit[first] - unit[second]).norm(dim=1) / 2).clamp(max=1))


def test_inner_products_have_the_kernel_as_mean_and_the_variance() -> None:
    """Of 200,000 features each product is a mean of as many terms, each of variance (1 + (1 − k²)²)/2."""
    x = torch.randn(6, 4, generator=generator(), dtype=torch.float64)
    count, bandwidth = 200_000, 1.7
    features = RandomFourierFeatures(4, count, bandwidth=bandwidth, generator=generator(1)).double()
    z = features(x)
    kernel = torch.from_numpy(RBF(bandwidth)(x.numpy()))
    variance = (1 + (1 - kernel**2) ** 2) / 2
    # 21 different products: five standard errors.
    assert ((z @ z.T - kernel).abs() < 5 * (variance / count).sqrt()).all()
    terms = count * z[:, None] * z[None]
    # A variance of bounded terms has a relative standard error of order 1/√count, 0.002.
    np.testing.assert_allclose(terms.var(-1), variance, rtol=0.02)
    # A planted fault: another bandwidth.
    wrong = torch.from_numpy(RBF(1.1 * bandwidth)(x.numpy()))
    assert ((z @ z.T - wrong).abs() > 5 * (variance / count).sqrt()).any()


def test_the_error_falls_as_one_over_the_root_of_their_number() -> None:
    x = torch.randn(20, 3, generator=generator())
    kernel = torch.exp(-torch.cdist(x, x).square() / 2)
    sizes, errors = (100, 400, 1600, 6400, 25_600), []
    for size in sizes:
        draws = [RandomFourierFeatures(3, size, generator=generator(seed))(x) for seed in range(10)]
        errors.append(float(torch.stack([z @ z.T - kernel for z in draws]).square().mean().sqrt()))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # Each root mean square is of some 100 independent numbers, known to 7 %, over a range of a factor 256.
    assert slope == pytest.approx(-0.5, abs=0.05)


def test_they_are_those_of_scikit_learn() -> None:
    """With the same frequencies and phases."""
    x = torch.randn(5, 7, generator=generator(), dtype=torch.float64)
    twin = RBFSampler(gamma=1 / (2 * 2.5**2), n_components=30, random_state=0).fit(x.numpy())
    features = RandomFourierFeatures(7, 30, bandwidth=2.5).double()
    features.load_state_dict(
        {"weight": torch.from_numpy(twin.random_weights_.T), "bias": torch.from_numpy(twin.random_offset_)}
    )
    np.testing.assert_allclose(features(x), twin.transform(x.numpy()), rtol=0, atol=1e-14)


@pytest.mark.demonstrates("random-embedding")
def test_rectified_layers_map_angles_by_the_kernel_and_keep_order() -> None:
    theta = torch.linspace(0.05, 1, 20) * math.pi
    inputs = torch.zeros(21, 30)
    inputs[0, 0] = 3.0
    inputs[1:, 0], inputs[1:, 1] = theta.cos(), theta.sin()
    z = RandomReLUFeatures(30, 50_000, generator=generator(1))(inputs)
    expected = torch.arccos((theta.sin() + (math.pi - theta) * theta.cos()) / math.pi)
    # Squared chords are means of 50,000 terms, of which each deviates by about twice its mean: angles err by 0.5 %.
    np.testing.assert_allclose(angles(z)[:20], expected, rtol=0.02)
    np.testing.assert_allclose(z.norm(dim=1), inputs.norm(dim=1), rtol=0.02)
    # It is not the angle itself, which the layer makes smaller.
    assert (expected[:-1] / theta[:-1] < 0.99).all()

    def order_kept(dimensions: int) -> float:
        """Return the rank correlation of 1,225 angles before and after two layers of 1,000 units."""
        basis = torch.linalg.qr(torch.randn(500, dimensions, generator=generator(2))).Q
        x = torch.randn(50, dimensions, generator=generator(3)) @ basis.T
        h = x
        for seed, fan_in in enumerate((500, 1000)):
            h = RandomReLUFeatures(fan_in, 1000, generator=generator(10 + seed))(h)
        return float(spearmanr(angles(x), angles(h)).statistic)

    # Of directions in a plane, Gaussian width 1.3, the angles range over [0, π]; the layers add 1/√1000 = 0.03 each.
    assert order_kept(2) > 0.95
    # Of directions in 500 dimensions, width 22, they are π/2 ± 0.045: that many units cannot tell them apart.
    assert order_kept(500) < 0.6


def test_rectified_features_compute_their_formula() -> None:
    """The twin takes one unit after another."""
    features = RandomReLUFeatures(4, 6, generator=generator()).double()
    x = torch.randn(5, 2, 2, generator=generator(1), dtype=torch.float64)
    expected = torch.stack([math.sqrt(2 / 6) * (x.flatten(1) @ w).clamp(min=0) for w in features.weight], dim=1)
    torch.testing.assert_close(features(x), expected, rtol=0, atol=1e-14)


def test_with_many_features_ridge_regression_is_that_of_the_kernel() -> None:
    """Targets of order 1, the ridge 0.1: a perturbation of the kernel by ε changes the prediction by some ε/0.1."""
    x, new = (torch.randn(n, 2, generator=generator(n), dtype=torch.float64) for n in (30, 40))
    targets = x.sin().sum(1)
    ridge = 0.1

    def predicted(gram: Tensor, cross: Tensor) -> Tensor:
        return cross @ torch.linalg.solve(gram + ridge * torch.eye(30), targets)

    kernel = predicted(torch.exp(-torch.cdist(x, x).square() / 2), torch.exp(-torch.cdist(new, x).square() / 2))
    errors = []
    for size in (100, 100_000):
        features = RandomFourierFeatures(2, size, generator=generator(5)).double()
        model = RandomFeatureModel(features, 1).double()
        z = features(x)
        with torch.no_grad():
            # The ridge solution, by samples in place of features.
            model.output.weight.copy_((z.T @ torch.linalg.solve(z @ z.T + ridge * torch.eye(30), targets))[None])
            model.output.bias.zero_()
            errors.append((model(new).squeeze(1) - kernel).abs().amax().item())
    assert errors[1] < 0.05
    assert errors[0] > 3 * errors[1]


def test_what_is_drawn_does_not_learn_and_is_in_the_state() -> None:
    model = RandomFeatureModel(RandomFourierFeatures(4, 9, generator=generator()), 3)
    assert {name for name, _ in model.named_parameters()} == {"output.weight", "output.bias"}
    other = RandomFeatureModel(RandomFourierFeatures(4, 9, generator=generator(1)), 3)
    x = torch.randn(5, 4)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_draws_come_from_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    for kind in (RandomFourierFeatures, RandomReLUFeatures):
        first, second, third = (kind(4, 9, generator=generator(seed)).weight for seed in (0, 0, 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", [RandomFourierFeatures, RandomReLUFeatures])
def test_sixteen_samples_are_learnt(kind: type[RandomFourierFeatures]) -> None:
    model = RandomFeatureModel(kind(12, 128, generator=generator()), 3)
    targets = torch.randint(3, (16,), generator=generator(2))
    overfits(model, torch.randn(16, 3, 4, generator=generator(1)), targets, cross_entropy, steps=300, rate=0.1)


@pytest.mark.parametrize("kind", [RandomFourierFeatures, RandomReLUFeatures])
def test_nan_is_not_hidden(kind: type[RandomFourierFeatures]) -> None:
    x = torch.zeros(3, 4)
    x[1, 0] = torch.nan
    assert RandomFeatureModel(kind(4, 9), 2)(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    for kind in (RandomFourierFeatures, RandomReLUFeatures):
        with pytest.raises(UsageError, match="out_features is 0"):
            kind(3, 0)
        for x in (torch.zeros(4, 2), torch.zeros(3), torch.zeros(4, 3, dtype=torch.int64)):
            with pytest.raises(UsageError, match=r"Give \[batch, 3\]"):
                kind(3, 5)(x)
    for bandwidth in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match=f"bandwidth is {bandwidth}"):
            RandomFourierFeatures(3, 5, bandwidth=bandwidth)
    with pytest.raises(UsageError, match="out_features is 0"):
        RandomFeatureModel(RandomReLUFeatures(3, 5), 0)
    for x in (torch.tensor(1.0), torch.zeros(4, 2)):
        with pytest.raises(UsageError, match=r"RandomFeatureModel\nGive \[batch, 3\]"):
            RandomFeatureModel(RandomReLUFeatures(3, 5), 2)(x)
