"""Activation functions by name: each is its formula, and so is its derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import overfits, squared_error
from scipy.special import erf, expit
from torch import nn

from deepscope.core import UsageError
from deepscope.models import MLP
from deepscope.models._activation import _ACTIVATIONS, make_activation

LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772


def density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def normal(x):
    return (1 + erf(x / math.sqrt(2))) / 2


def softplus(x):
    return np.log1p(np.exp(x))


#: Each function and its derivative in NumPy.
FORMULAS = {
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1, np.exp(x))),
    "gelu": (lambda x: x * normal(x), lambda x: normal(x) + x * density(x)),
    "identity": (lambda x: x, np.ones_like),
    "leaky-relu": (lambda x: np.where(x > 0, x, x / 100), lambda x: np.where(x > 0, 1, 0.01)),
    "mish": (
        lambda x: x * np.tanh(softplus(x)),
        lambda x: np.tanh(softplus(x)) + x * expit(x) / np.cosh(softplus(x)) ** 2,
    ),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "selu": (
        lambda x: LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(x)),
        lambda x: LAMBDA * np.where(x > 0, 1, ALPHA * np.exp(x)),
    ),
    "sigmoid": (expit, lambda x: expit(x) * expit(-x)),
    "silu": (lambda x: x * expit(x), lambda x: expit(x) * (1 + x * expit(-x))),
    "sin": (np.sin, np.cos),
    "softplus": (softplus, expit),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "swish": (lambda x: x * expit(x), lambda x: expit(x) * (1 + x * expit(-x))),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
}


def test_all_are_tested() -> None:
    assert set(FORMULAS) == set(_ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_its_formula_and_has_its_derivative(name: str) -> None:
    function, derivative = FORMULAS[name]
    # 0, where some have no derivative, is not among the points.
    x = torch.linspace(-6, 6, 100, dtype=torch.float64, requires_grad=True)
    y = make_activation(name)(x)
    y.sum().backward()
    points = x.detach().numpy()
    np.testing.assert_allclose(y.detach(), function(points), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(x.grad, derivative(points), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_is_not_hidden(name: str) -> None:
    assert make_activation(name)(torch.tensor([torch.nan])).isnan().all()


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"identity"}))
def test_a_perceptron_with_it_learns_sixteen_samples(name: str) -> None:
    torch.manual_seed(0)
    model = MLP(6, [32], 1, activation=name)
    overfits(model, torch.randn(16, 6), 2 * torch.randn(16, 1), squared_error, steps=600, rate=2e-2)


def test_each_call_makes_a_module_and_a_wrong_name_says_which_was_meant() -> None:
    assert make_activation("relu") is not make_activation("relu")
    assert isinstance(make_activation("swish"), nn.SiLU)
    with pytest.raises(UsageError, match=r"(?s)unknown activation.*leaky-relu"):
        make_activation("leaky-rely")
