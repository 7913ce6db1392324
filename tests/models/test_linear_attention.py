"""Linear attention as attention over all pairs, as a recurrence, and in chunks."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import overfits
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import FeedForward, LanguageModel, LinearAttention, TransformerLayer, TransformerStack

LENGTH = 150
NORMALISED = pytest.mark.parametrize("normalised", [True, False])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(normalised=True, width=8, heads=2):
    torch.manual_seed(0)
    model = LinearAttention(width, heads, normalised=normalised).double()
    for each in (model.query, model.key, model.value, model.output):
        nn.init.normal_(each.bias)
    return model


def over_all_pairs(model, x, causal=True):
    """Twin: the matrix of weights, T × T, made from its formula and multiplied out."""
    parts = [each(x).unflatten(-1, (model.num_heads, -1)).transpose(1, 2) for each in (model.query, model.key)]
    values = model.value(x).unflatten(-1, (model.num_heads, -1)).transpose(1, 2)
    if model.normalised:
        queries, keys = (nn.functional.elu(each) + 1 for each in parts)
    else:
        queries, keys = parts[0] / math.sqrt(model.head_dim), parts[1]
    weights = queries @ keys.mT
    weights = weights.tril() if causal else weights
    if model.normalised:
        weights = weights / weights.sum(-1, keepdim=True)
    return model.output((weights @ values).transpose(1, 2).flatten(2))


@NORMALISED
def test_all_pairs_the_recurrence_and_the_scan_agree(normalised):
    model, x = built(normalised), drawn(2, LENGTH, 8)
    scanned, last = model.scan(x)
    state, stepped = model.initial_state(2), []
    for each in x.unbind(1):
        y, state = model.step(each, state)
        stepped.append(y)
    # Without a denominator the sums grow with the length: 150 terms of order 1.
    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-11)
    close(scanned, over_all_pairs(model, x))
    close(torch.stack(stepped, 1), scanned)
    close(state, last)
    single = built(normalised).float()
    torch.testing.assert_close(single(x.float()), scanned.float(), rtol=1e-5, atol=1e-4 if not normalised else 1e-5)
    # Attention in both directions is another function: the comparison would see it.
    assert (scanned - over_all_pairs(model, x, causal=False)).abs().max() > 1e-2


@NORMALISED
@pytest.mark.parametrize("cut", [1, 64, 100])
def test_reading_in_parts_is_reading_at_once(normalised, cut):
    model, x = built(normalised), drawn(2, LENGTH, 8)
    expected, last = model.scan(x)
    first, state = model.scan(x[:, :cut])
    second, end = model.scan(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), expected, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(end, last, rtol=1e-12, atol=1e-11)


@NORMALISED
def test_it_is_a_recurrence(normalised):
    scans_in_sight(built(normalised))
    # Without a denominator, the sums of 150 terms as above.
    reads_step_by_step(built(normalised), steps=LENGTH, atol=1e-11, rounding=1e-3)
    assert sees_no_later_step(built(normalised), steps=LENGTH)
    refuses_what_does_not_fit(built(normalised), at_once=True)


@NORMALISED
def test_the_past_does_not_depend_on_the_future_in_any_digit(normalised):
    model, x = built(normalised).float(), drawn(1, LENGTH, 8).float()
    changed = torch.cat([x[:, :100], 1e3 * x[:, 100:]], 1)
    assert torch.equal(model(x)[:, :100], model(changed)[:, :100])
    assert not torch.equal(model(x)[:, 100:], model(changed)[:, 100:])


def test_gradients_are_those_over_all_pairs():
    model, x = built(), drawn(2, LENGTH, 8)
    found = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    expected = torch.autograd.grad(over_all_pairs(model, x).square().sum(), list(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_its_state_does_not_grow():
    model = built()
    assert model.scan(drawn(3, 1, 8))[1].shape == model.scan(drawn(3, LENGTH, 8))[1].shape == (3, 2, 4, 5)


def test_it_attends_where_all_features_nearly_vanish():
    """elu(x) + 1 rounds to 0 below −37 and 0/0 would follow; eˣ does not."""
    model = built()
    nn.init.zeros_(model.key.weight)
    nn.init.constant_(model.key.bias, -60.0)
    x = drawn(1, 9, 8)
    # All keys are equal: every position reads the mean of the values so far.
    values = model.value(x).cumsum(1) / torch.arange(1, 10)[:, None]
    torch.testing.assert_close(model(x), model.output(values), rtol=1e-12, atol=1e-12)


def test_in_a_transformer_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    text = torch.randint(12, (16, 7), generator=torch.Generator().manual_seed(0))
    text[:, 0] = torch.arange(16)
    layers = [
        TransformerLayer(LinearAttention(32, 4), FeedForward(32), partial(nn.LayerNorm, 32), pre_norm=True)
        for _ in range(2)
    ]
    model = LanguageModel(16, 32, TransformerStack(32, layers, norm=nn.LayerNorm(32)))

    def loss(logits, targets):
        return cross_entropy(logits.flatten(0, 1), targets.flatten())

    overfits(model, text[:, :-1], text[:, 1:], loss, steps=150, below=0.05)
    # A stack of it reads in parts as well.
    embedded = model.embedding(text)
    first, state = model.body.scan(embedded[:, :3])
    second, _ = model.body.scan(embedded[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), model.body(embedded), rtol=0, atol=1e-4)


def test_one_step_is_enough_and_nan_comes_out():
    assert built()(drawn(3, 1, 8)).shape == (3, 1, 8)
    x = drawn(1, LENGTH, 8)
    x[0, 70, 1] = math.nan
    y = built()(x)
    assert y[0, 70:].isnan().all()


X = torch.zeros(2, 5, 8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: LinearAttention(8, 3), "width is 8, and heads 3"),
        (lambda: LinearAttention(8, 0), "heads is 0"),
        (lambda: LinearAttention(8, 2)(X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: LinearAttention(8, 2)(X[:, :0]), r"\[2, 0, 8\]"),
        (lambda: LinearAttention(8, 2)(X.long()), "int64"),
        (lambda: LinearAttention(8, 2).scan(X, LinearAttention(8, 4).initial_state(2)), "state's shapes"),
        (lambda: LinearAttention(8, 2).scan(X, LinearAttention(8, 2).initial_state(3)), "state's shapes"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
