"""Self-normalising networks: the map of mean and variance from layer to layer, and layers that follow it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from contract import overfits
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import SelfNormalisingNetwork

#: Nodes and weights of Gauss and Legendre on [−1, 1].
NODES = np.polynomial.legendre.leggauss(60)


def moments(activation: nn.Module, mean: float, variance: float) -> tuple[float, float]:
    """Return mean and variance of an activation of a normal variable, by quadrature on each side of the kink at 0.

    Twelve deviations hold all but 1e-32 of the mass.
    """
    deviation = math.sqrt(variance)
    low, high = min(mean - 12 * deviation, -1e-9), max(mean + 12 * deviation, 1e-9)
    total = np.zeros(2)
    # Parts of a deviation or so, on which 60 nodes integrate these functions to rounding.
    for part in ((low, 0.0), (0.0, high)):
        edges = np.linspace(*part, 13)
        for left, right in itertools.pairwise(edges):
            z = left + (right - left) * (NODES[0] + 1) / 2
            weight = NODES[1] * (right - left) / 2
            density = np.exp(-((z - mean) ** 2) / (2 * variance)) / (deviation * math.sqrt(2 * math.pi))
            y = activation(torch.from_numpy(z)).numpy()
            total += [(weight * density * y).sum(), (weight * density * y**2).sum()]
    return total[0], total[1] - total[0] ** 2


def following(activation: nn.Module, mu: float, omega: float, nu: float, tau: float) -> tuple[float, float]:
    return moments(activation, mu * omega, nu * tau)


def activation() -> nn.Module:
    return SelfNormalisingNetwork(2, (3,), 1).activation1


def test_mean_0_and_variance_1_are_a_fixed_point_that_attracts() -> None:
    """The paper's numbers: the fixed point, the Jacobian there, and an image of the domain inside the domain."""
    selu = activation()
    # λ and α are float64, so that the fixed point is met to rounding.
    np.testing.assert_allclose(following(selu, 0, 0, 1, 1), (0, 1), rtol=0, atol=1e-12)
    step = 1e-4
    by_variance = (np.array(following(selu, 0, 0, 1 + step, 1)) - following(selu, 0, 0, 1 - step, 1)) / (2 * step)
    # Differences of second order err by step² times a third derivative of order 1; the paper gives six digits.
    np.testing.assert_allclose(by_variance, (0.088834, 0.782648), rtol=0, atol=1e-6)
    # With ω = 0 the mean before has no effect: the Jacobian's norm is that of the other column.
    assert following(selu, 0.1, 0, 1, 1) == following(selu, -0.1, 0, 1, 1)
    assert np.linalg.norm(by_variance) == pytest.approx(0.7877, abs=1e-4)
    corners = itertools.product((-0.1, 0.0, 0.1), (-0.1, 0.0, 0.1), (0.8, 1.0, 1.5), (0.95, 1.0, 1.1))
    means, variances = np.array([following(selu, *corner) for corner in corners]).T
    np.testing.assert_allclose((means.min(), means.max()), (-0.03106, 0.06773), rtol=0, atol=1e-5)
    # Of the variance the paper has bounds from outside, from the second moment's and the mean's.
    assert 0.80009 <= variances.min() <= 0.80009 + 5e-3
    assert 1.48617 - 5e-3 <= variances.max() <= 1.48617
    mean, variance = 0.1, 1.5
    for _ in range(100):
        mean, variance = following(selu, mean, 0, variance, 1)
    # Contraction by 0.79 a layer: below 1e-10 after 100.
    np.testing.assert_allclose((mean, variance), (0, 1), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "other", [nn.ReLU(), nn.ELU(), nn.Tanh(), nn.LeakyReLU(0.1)], ids=lambda each: type(each).__name__
)
def test_other_activations_have_no_such_fixed_point(other: nn.Module) -> None:
    assert np.abs(np.subtract(following(other, 0, 0, 1, 1), (0, 1))).max() > 0.1


def test_layers_follow_the_map_and_bring_mean_and_variance_home() -> None:
    torch.manual_seed(0)
    model = SelfNormalisingNetwork(512, (512,) * 24, 1).double()
    for start in ((0.1, 1.5), (-0.1, 0.8)):
        h = start[0] + math.sqrt(start[1]) * torch.randn(64, 512, dtype=torch.float64)
        found = []
        for name, layer in list(model.named_children())[:-1]:
            h = layer(h)
            if name.startswith("activation"):
                found.append((h.mean().item(), h.var().item()))
        expected = following(activation(), start[0], 0, start[1] + start[0] ** 2, 1)
        # 512 random units: their sums of weights and squares deviate, the mean and variance of units by about
        # 2/√512 = 0.09 a layer, of which 1/(1 − 0.79) layers add up.
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=0.1)
        np.testing.assert_allclose(found[-1], (0, 1), rtol=0, atol=0.25)
    # A planted fault: the same layers, rectified, lose half of their variance each time.
    h = torch.randn(64, 512, dtype=torch.float64)
    for layer in model:
        h = h.relu() if isinstance(layer, nn.SELU) else layer(h) if layer is not model.output else h
    assert h.var() < 1e-3


def test_weights_have_variance_1_over_fan_in() -> None:
    torch.manual_seed(0)
    model = SelfNormalisingNetwork()
    for layer in model:
        if isinstance(layer, nn.Linear):
            # Four standard errors of a variance of at least 2,560 numbers.
            assert layer.weight.var().item() * layer.in_features == pytest.approx(1, abs=4 * (2 / 2560) ** 0.5)
            assert not layer.bias.any()
    assert sum(p.numel() for p in model.parameters()) == 256 * 785 + 7 * 256 * 257 + 10 * 257


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    torch.manual_seed(0)
    model = SelfNormalisingNetwork(4, (4,), 1, dropout=0.1)
    assert [name for name, _ in model.named_children()] == ["flatten", "hidden1", "activation1", "dropout1", "output"]
    units = nn.SELU()(torch.randn(1_000_000))
    dropped = model.dropout1(units)
    assert (dropped != units).any()
    # Standard errors of 0.001 and, with a kurtosis of about 3, 0.0015.
    assert dropped.mean().item() == pytest.approx(0, abs=0.005)
    assert dropped.var().item() == pytest.approx(1, abs=0.01)


def test_it_computes_its_formula() -> None:
    """The twin is the formula, selu with the paper's constants."""
    torch.manual_seed(0)
    model = SelfNormalisingNetwork(6, (5, 4), 3).double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    h = x.flatten(1)
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    for layer in (model.hidden1, model.hidden2):
        z = h @ layer.weight.T + layer.bias
        h = scale * torch.where(z > 0, z, alpha * (z.exp() - 1))
    expected = h @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-13)


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    model = SelfNormalisingNetwork(12, (16,) * 4, 3)
    overfits(model, torch.randn(16, 3, 4), torch.randint(3, (16,)), cross_entropy, steps=200)


def test_nan_is_not_hidden() -> None:
    x = torch.zeros(3, 4)
    x[1, 0] = torch.nan
    assert SelfNormalisingNetwork(4, (5,), 2)(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="a width is 0"):
        SelfNormalisingNetwork(2, (0,), 2)
    for share in (-0.1, 1.0):
        with pytest.raises(UsageError, match=f"dropout is {share}"):
            SelfNormalisingNetwork(2, (3,), 2, dropout=share)
    model = SelfNormalisingNetwork(6, (3,), 2)
    for x in (torch.zeros(4, 5), torch.zeros(6), torch.zeros(4, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 6\]"):
            model(x)
