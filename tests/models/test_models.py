from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from deepscope.core import UsageError, cite
from deepscope.models import MLP, LeNet


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_lenet_has_the_published_shapes_and_61706_parameters() -> None:
    model = LeNet()
    layers = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert n_parameters(model) == 61_706
    assert {name: n for name, n in layers.items() if n} == {
        "convolution1": 156,
        "convolution2": 2416,
        "linear1": 48120,
        "linear2": 10164,
        "output": 850,
    }
    shapes, value = {}, torch.zeros(2, 1, 28, 28)
    for name, layer in model.named_children():
        value = layer(value)
        shapes[name] = tuple(value.shape[1:])
    assert shapes["convolution1"] == (6, 28, 28)
    assert shapes["pooling1"] == (6, 14, 14)
    assert shapes["convolution2"] == (16, 10, 10)
    assert shapes["pooling2"] == (16, 5, 5)
    assert shapes["output"] == (10,)


def test_lenet_activation_is_the_one_asked_for() -> None:
    kinds = [type(layer) for name, layer in LeNet(activation="relu").named_children() if name.startswith("activation")]
    assert kinds == [nn.ReLU] * 4
    assert any(isinstance(layer, nn.Tanh) for layer in LeNet())


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 28, 28), (1, 28, 28), (2, 784)])
def test_lenet_refuses_other_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"LeNet\nGive \[batch, 1, 28, 28\] of float32 numbers"):
        LeNet()(torch.zeros(shape))


@pytest.mark.parametrize(("hidden", "bias"), [((), True), ((5,), True), ((7, 5, 3), False)])
def test_mlp_parameters_follow_the_formula(hidden: tuple[int, ...], bias: bool) -> None:
    widths = (12, *hidden, 4)
    expected = sum(b * (a + bias) for a, b in itertools.pairwise(widths))
    model = MLP(12, hidden, 4, bias=bias)
    assert n_parameters(model) == expected
    assert model(torch.zeros(2, 3, 4)).shape == (2, 4)


def test_mlp_computes_its_formula() -> None:
    torch.manual_seed(0)
    model = MLP(6, [5, 4], 3, activation="tanh").double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    w = dict(model.named_parameters())
    h = x.reshape(7, 6)
    for name in ("hidden1", "hidden2"):
        h = torch.tanh(h @ w[f"{name}.weight"].T + w[f"{name}.bias"])
    expected = h @ w["output.weight"].T + w["output.bias"]
    # Sums of at most 6 terms of order 1: a few units in the last place of float64.
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-14)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="tanh"):
        MLP(2, [2], 2, activation="tahn")
    with pytest.raises(UsageError, match="widths"):
        MLP(2, [0], 2)
    with pytest.raises(UsageError, match="unknown activation"):
        LeNet(activation="swich")


@pytest.mark.parametrize("model", [MLP, LeNet])
def test_sources_are_in_the_references(model: type[nn.Module]) -> None:
    assert model.__doc__ is not None
    key = model.__doc__.split("Source: ``")[1].split("``")[0]
    assert cite(key)
