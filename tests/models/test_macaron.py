"""The Macaron network: its formula, and the order of its splitting."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import overfits
from torch import nn

from deepscope.core import UsageError
from deepscope.models import (
    FeedForward,
    MacaronLayer,
    MultiHeadAttention,
    TransformerEncoder,
    TransformerLayer,
    macaron_base,
    macaron_encoder,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def integrated(field, x, time, steps):
    """Follow x' = field(x) by the classical method of Runge and Kutta."""
    h = time / steps
    for _ in range(steps):
        a = field(x)
        b = field(x + h / 2 * a)
        c = field(x + h / 2 * b)
        x = x + h / 6 * (a + 2 * b + 2 * c + field(x + h * c))
    return x


class Flow(nn.Module):
    """What a branch with a share must return so that x + share · branch(x) is the flow of a field for share · time."""

    def __init__(self, field, time, share):
        super().__init__()
        self.field, self.time, self.share = field, time, share

    def forward(self, x):
        return (integrated(self.field, x, self.share * self.time, 4) - x) / self.share


class Euler(nn.Module):
    def __init__(self, field, time):
        super().__init__()
        self.field, self.time = field, time

    def forward(self, x):
        return self.time * self.field(x)


@torch.no_grad()
def slope(make_layer):
    """Return the order of a layer as a step of x' = attention(x) + f(x): errors with 8 and with 32 of them."""
    torch.manual_seed(0)
    attention, network = MultiHeadAttention(6, 2).double(), FeedForward(6, activation=nn.Tanh).double()
    for parameter in (*attention.parameters(), *network.parameters()):
        nn.init.normal_(parameter, std=0.5)
    x = drawn(1, 5, 6)
    truth = integrated(lambda x: attention(x) + network(x), x, 1.0, 400)
    errors = []
    for steps in (8, 32):
        layer, y = make_layer(attention, network, 1 / steps), x
        for _ in range(steps):
            y = layer(y)
        errors.append((y - truth).norm().item())
    return math.log(errors[0] / errors[1]) / math.log(4)


def test_its_splitting_is_of_order_two_and_the_transformers_of_order_one():
    """Both layers, with exact flows in their branches, so that only the order of the branches makes errors."""

    def macaron(attention, network, h):
        halves = Flow(network, h, 0.5), Flow(network, h, 0.5)
        return MacaronLayer(Flow(attention, h, 1.0), *halves, nn.Identity)

    def transformer(attention, network, h):
        return TransformerLayer(Flow(attention, h, 1.0), Flow(network, h, 1.0), nn.Identity)

    def untied(attention, network, h):
        return MacaronLayer(Euler(attention, h), Euler(network, h), Euler(network, h), nn.Identity)

    assert slope(macaron) == pytest.approx(2.0, abs=0.1)
    assert slope(transformer) == pytest.approx(1.0, abs=0.1)
    # With Euler's steps in the branches, as residual networks have them, the whole is of order 1 in either.
    assert slope(untied) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_layer_is_its_formula(pre_norm):
    torch.manual_seed(0)
    layer = macaron_encoder(8, 2, 12, 1, pre_norm=pre_norm).double().layers[0]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    x = drawn(2, 5, 8)
    n1, n2, n3 = layer.feed_forward1_norm, layer.attention_norm, layer.feed_forward2_norm
    if pre_norm:
        y = x + layer.feed_forward1(n1(x)) / 2
        y = y + layer.attention(n2(y))
        expected = y + layer.feed_forward2(n3(y)) / 2
    else:
        y = n1(x + layer.feed_forward1(x) / 2)
        y = n2(y + layer.attention(y))
        expected = n3(y + layer.feed_forward2(y) / 2)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)


def test_it_has_the_parameters_of_a_transformer_but_for_norms_and_biases():
    d, h, layers = 512, 1024, 6
    with torch.device("meta"):
        ours, theirs = macaron_base(), TransformerEncoder()
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert count == layers * (4 * d * d + 4 * d * h + 2 * h + 8 * d)
    assert count - sum(parameter.numel() for parameter in theirs.parameters()) == layers * (2 * d + d)


def test_padding_and_causality_reach_attention():
    torch.manual_seed(0)
    x = drawn(1, 6, 8)
    model = macaron_encoder(8, 2, 12, 2).double()
    padding = torch.arange(6)[None] >= 4
    torch.testing.assert_close(model(x, padding=padding)[:, :4], model(x[:, :4]), rtol=0, atol=1e-12)
    causal = macaron_encoder(8, 2, 12, 2, causal=True, pre_norm=True).double()
    torch.testing.assert_close(causal(x)[:, :4], causal(x[:, :4]), rtol=0, atol=1e-12)
    assert (model(x)[:, :4] - model(x[:, :4])).abs().max() > 1e-3


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, 8)
    layer = MacaronLayer(MultiHeadAttention(8, 2), FeedForward(8, 16), FeedForward(8, 16), norm)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 2))
    overfits(model, drawn(16, 5, 8).float(), 2 * drawn(16, 2, seed=1).float(), nn.functional.mse_loss, steps=200)


X = torch.zeros(2, 5, 8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: macaron_encoder(8, 3, 12, 1), "width is 8, and heads 3"),
        (lambda: macaron_encoder(8, 2, 12, 0), "layers is 0"),
        (lambda: macaron_encoder(8, 2, 0, 1), "hidden_size is 0"),
        (lambda: MacaronLayer(nn.Identity(), nn.Identity(), nn.Identity(), nn.Identity, dropout=1.5), "dropout is 1.5"),
        (lambda: macaron_encoder(8, 2, 12, 1)(X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: macaron_encoder(8, 2, 12, 1)(X[:, :0]), r"\[2, 0, 8\]"),
        (lambda: macaron_encoder(8, 2, 12, 1)(X.long()), "int64"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
