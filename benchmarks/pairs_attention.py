"""Attention beside the textbook expression: a matrix of all scores."""

from __future__ import annotations

from typing import Any

import torch
from model_pairs import Pair
from torch.nn import functional

from deepscope.models import LinearAttention, LinearBiases, LogLinearAttention, MultiHeadAttention, RotaryPositions

WIDTH, HEADS, SIZE = 128, 4, 32


def _split(model: Any, x: Any) -> tuple[Any, Any, Any]:
    """Return queries, keys and values, [batch, heads, time, size]."""
    query, key, value = (
        each(x).view(*x.shape[:2], HEADS, SIZE).transpose(1, 2) for each in (model.query, model.key, model.value)
    )
    return query, key, value


def _softmax(model: Any, query: Any, key: Any, value: Any, bias: Any = 0.0) -> Any:
    later = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(1)
    weights = (query @ key.mT / SIZE**0.5 + bias).masked_fill(later, -torch.inf).softmax(-1)
    return model.output((weights @ value).transpose(1, 2).flatten(2))


def attention() -> Pair:
    """Return causal attention to 1,024 positions, and the softmax of all its scores."""
    model, x = MultiHeadAttention(WIDTH, HEADS, causal=True), torch.randn(2, 1024, WIDTH)
    return lambda: model(x), lambda: _softmax(model, *_split(model, x))


def rotary() -> Pair:
    """Return the same with rotary positions, and with queries and keys turned as complex numbers."""
    model = MultiHeadAttention(WIDTH, HEADS, causal=True, rotary=RotaryPositions(SIZE))
    x = torch.randn(2, 1024, WIDTH)

    def turned(each: Any) -> Any:
        angles = torch.arange(1024.0)[:, None] * 10_000.0 ** (-torch.arange(0, SIZE, 2) / SIZE)
        planes = torch.view_as_complex(each.reshape(*each.shape[:-1], SIZE // 2, 2))
        return torch.view_as_real(planes * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    def softmax() -> Any:
        query, key, value = _split(model, x)
        return _softmax(model, turned(query), turned(key), value)

    return lambda: model(x), softmax


def linear_biases() -> Pair:
    """Return the same with linear biases, and with the biases added to all scores."""
    model = MultiHeadAttention(WIDTH, HEADS, causal=True, score_bias=LinearBiases(HEADS))
    x = torch.randn(2, 1024, WIDTH)

    def softmax() -> Any:
        times, slopes = torch.arange(1024), 2.0 ** (-8 * torch.arange(1, HEADS + 1) / HEADS)
        bias = -slopes[:, None, None] * (times[:, None] - times).abs()
        return _softmax(model, *_split(model, x), bias)

    return lambda: model(x), softmax


def linear_attention() -> Pair:
    """Return linear attention to 2,048 positions, and its matrix of weights."""
    model, x = LinearAttention(WIDTH, HEADS), torch.randn(1, 2048, WIDTH)

    def quadratic() -> Any:
        query, key, value = _split(model, x)
        weights = ((functional.elu(query) + 1) @ (functional.elu(key) + 1).mT).tril()
        return model.output((weights @ value / weights.sum(-1, keepdim=True)).transpose(1, 2).flatten(2))

    return lambda: model(x), quadratic


def log_linear_attention() -> Pair:
    """Return log-linear attention to 2,048 positions, and its matrix of weights, each with the gate of its level."""
    model, x = LogLinearAttention(WIDTH, HEADS, longest=2048), torch.randn(1, 2048, WIDTH)

    def quadratic() -> Any:
        query, key, value = _split(model, x)
        gates = functional.softplus(model.gate(x).view(1, 2048, HEADS, model.levels + 1).transpose(1, 2))
        times = torch.arange(2048)
        # The number of binary digits of t xor s.
        levels = torch.frexp((times[:, None] ^ times).double()).exponent.long()
        weights = (query @ key.mT / SIZE**0.5 * gates.gather(-1, levels.expand(1, HEADS, -1, -1))).tril()
        return model.output((weights @ value).transpose(1, 2).flatten(2))

    return lambda: model(x), quadratic
