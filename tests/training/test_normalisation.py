"""Normalisation of activations: formulas, running estimates, and what does not change the outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deepscope.training import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RMSNorm, weight_norm

X = torch.randn(5, 6, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1


def with_scale(layer: nn.Module) -> nn.Module:
    """Draw γ and β, which are 1 and 0 in a new layer."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer.double()


def normalised(x: Tensor, dims: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    """Return (x − m)/√(v + ε), m and v naively over these dimensions."""
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    mean = x.sum(dims, keepdim=True) / count
    variance = ((x - mean) ** 2).sum(dims, keepdim=True) / count
    return (x - mean) / torch.sqrt(variance + eps)


def per_channel(layer: nn.Module, x: Tensor) -> Tensor:
    return x * layer.weight[:, None, None] + layer.bias[:, None, None]


def test_each_is_its_formula() -> None:
    # Means of at most 72 numbers of order 5.
    tolerance = {"rtol": 0, "atol": 1e-13}
    batch = with_scale(BatchNorm2d(6))
    torch.testing.assert_close(batch(X), per_channel(batch, normalised(X, (0, 2, 3))), **tolerance)
    instance = InstanceNorm2d(6).double()
    torch.testing.assert_close(instance(X), normalised(X, (2, 3)), **tolerance)
    group = with_scale(GroupNorm(3, 6))
    split = normalised(X.reshape(5, 3, 2, 3, 4), (2, 3, 4)).reshape(X.shape)
    torch.testing.assert_close(group(X), per_channel(group, split), **tolerance)
    layer = with_scale(LayerNorm(4))
    torch.testing.assert_close(layer(X), normalised(X, (3,)) * layer.weight + layer.bias, **tolerance)
    rms = with_scale(RMSNorm(4, eps=1e-5))
    expected = X / torch.sqrt((X**2).sum(3, keepdim=True) / 4 + 1e-5) * rms.weight
    torch.testing.assert_close(rms(X), expected, **tolerance)


def test_a_group_of_all_channels_is_a_layer_and_groups_of_one_are_instances() -> None:
    torch.testing.assert_close(GroupNorm(1, 6).double()(X), LayerNorm((6, 3, 4)).double()(X), rtol=0, atol=1e-13)
    torch.testing.assert_close(GroupNorm(6, 6).double()(X), InstanceNorm2d(6).double()(X), rtol=0, atol=1e-13)
    assert (GroupNorm(2, 6).double()(X) - GroupNorm(1, 6).double()(X)).abs().amax() > 0.01


def test_rms_norm_is_layer_norm_of_what_has_mean_zero() -> None:
    centred = X - X.mean(3, keepdim=True)
    rms, layer = RMSNorm(4, eps=1e-5).double(), LayerNorm(4, eps=1e-5).double()
    torch.testing.assert_close(rms(centred), layer(X), rtol=0, atol=1e-13)
    # Otherwise not: it keeps the mean.
    assert (rms(X) - layer(X)).abs().amax() > 0.1
    assert rms(X).mean(3).abs().amax() > 0.1


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_estimates_follow_their_recursion(momentum: float | None) -> None:
    """r ← (1 − a) r + a m, and of the variance without bias, from 0 and 1; without a momentum a = 1/t: plain means."""
    layer = BatchNorm2d(6, momentum=momentum).double()
    mean, variance = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    for step in range(1, 8):
        x = torch.randn(step + 1, 6, 3, 4, generator=generator, dtype=torch.float64) * step + 1
        layer(x)
        share = 1 / step if momentum is None else momentum
        n = len(x) * 12
        now = x.sum((0, 2, 3)) / n
        spread = ((x - now[:, None, None]) ** 2).sum((0, 2, 3)) / (n - 1)
        mean = (1 - share) * mean + share * now
        variance = (1 - share) * variance + share * spread
    torch.testing.assert_close(layer.running_mean, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.running_var, variance, rtol=1e-12, atol=0)
    y = layer.eval()(X)
    expected = (X - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    # In evaluation a sample's output does not depend on the others, nor do the estimates move.
    torch.testing.assert_close(layer(X[:1]), y[:1], rtol=0, atol=1e-15)
    torch.testing.assert_close(layer.running_mean, mean, rtol=0, atol=1e-12)


#: With this ε outputs of variance v change by ε/(2v) of themselves, 1e-11, where weights are made smaller by 10.
_EPS = 1e-12
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.Sequential(nn.Conv2d(6, 4, 2, bias=False), BatchNorm2d(4, eps=_EPS)),
    "layer": lambda: nn.Sequential(nn.Conv2d(6, 4, 2, bias=False), nn.Flatten(), LayerNorm(24, eps=_EPS)),
    "group": lambda: nn.Sequential(nn.Conv2d(6, 4, 2, bias=False), GroupNorm(2, 4, eps=_EPS)),
    "instance": lambda: nn.Sequential(nn.Conv2d(6, 4, 2, bias=False), InstanceNorm2d(4, eps=_EPS)),
    "rms": lambda: nn.Sequential(nn.Conv2d(6, 4, 2, bias=False), nn.Flatten(), RMSNorm(24, eps=_EPS)),
    "weight": lambda: nn.Sequential(weight_norm(nn.Conv2d(6, 4, 2))),
}


def outputs_and_gradient(network: nn.Module, weight: nn.Parameter) -> tuple[Tensor, Tensor]:
    y = network(X)
    target = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return y.detach(), torch.autograd.grad((y - target).pow(2).mean(), weight)[0]


@pytest.mark.demonstrates("norm-survey")
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_outputs_do_not_depend_on_the_scale_of_the_weights_before(kind: str, scale: float) -> None:
    """W → c W: the same outputs to 1e-6, gradients of 1/c times the size, and orthogonal to the weights."""
    torch.manual_seed(4)
    network = with_scale(NETWORKS[kind]())
    weight = network[0].parametrizations.weight.original1 if kind == "weight" else network[0].weight
    y, gradient = outputs_and_gradient(network, weight)
    assert gradient.norm() > 1e-3
    with torch.no_grad():
        weight *= scale
    again, smaller = outputs_and_gradient(network, weight)
    assert (again - y).norm() < 1e-6 * y.norm()
    assert abs(smaller.norm() * scale / gradient.norm() - 1) < 1e-6
    # A function that is constant along W has no derivative along it (Euler).
    assert abs((smaller * weight).sum()) < 1e-6 * smaller.norm() * weight.norm()


def test_without_normalisation_outputs_and_gradients_depend_on_it() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(6, 4, 2, bias=False)).double()
    y, gradient = outputs_and_gradient(network, network[0].weight)
    with torch.no_grad():
        network[0].weight *= 3
    again, other = outputs_and_gradient(network, network[0].weight)
    torch.testing.assert_close(again, 3 * y, rtol=0, atol=1e-12)
    assert other.norm() > 1.5 * gradient.norm()


def test_nan_is_not_hidden() -> None:
    x = X.clone()
    x[0, 0, 0, 0] = torch.nan
    assert BatchNorm2d(6).double()(x)[:, 0].isnan().all()
    for layer in (GroupNorm(6, 6), InstanceNorm2d(6)):
        y = layer.double()(x)
        assert y[0, 0].isnan().all()
        assert y[1:].isfinite().all()
    for layer in (LayerNorm(4), RMSNorm(4)):
        assert layer.double()(x)[0, 0, 0].isnan().all()


def test_bad_input_is_named() -> None:
    """These are torch's layers, and torch's words."""
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="expected 4D input"):
        BatchNorm2d(3)(torch.zeros(4, 3))
    with pytest.raises(RuntimeError, match="should contain 4 elements not 3"):
        BatchNorm2d(3)(torch.zeros(2, 4, 2, 2))
    with pytest.raises(ValueError, match=r"num_channels \(3\) must be divisible by num_groups \(2\)"):
        GroupNorm(2, 3)
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        InstanceNorm2d(3)(torch.zeros(2, 3, 1, 1))
    for layer in (LayerNorm(4), RMSNorm(4)):
        with pytest.raises(RuntimeError, match=r"normalized_shape=\[4\], expected input with shape"):
            layer(torch.zeros(2, 5))
