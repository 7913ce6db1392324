"""Log-linear attention: its tree of states, its three forms, and what it reduces to."""

from __future__ import annotations

import math

import pytest
import torch
from contract import overfits
from recurrences import reads_step_by_step, refuses_what_does_not_fit, scans_in_sight, sees_no_later_step
from torch import nn

from deepscope.core import UsageError
from deepscope.models import LinearAttention, LogLinearAttention

#: No multiple of a chunk of 64, with several levels between chunks.
LENGTH = 300


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(longest=512):
    torch.manual_seed(0)
    model = LogLinearAttention(8, 2, longest=longest).double()
    for each in (model.query, model.key, model.value, model.output):
        nn.init.normal_(each.bias)
    nn.init.normal_(model.gate.weight)
    return model


def buckets(t):
    """Twin of the partition, as the paper builds it: take the largest aligned block that ends where the last began."""
    found, end = {0: [t]}, t
    while end:
        size = end & -end
        found[size.bit_length()] = list(range(end - size, end))
        end -= size
    return found


def one_by_one(model, x):
    """Twin: the outputs of one sequence by the formula, bucket by bucket."""
    length, heads, width = len(x), model.num_heads, model.head_dim
    q, k, v = (each(x).reshape(length, heads, width) for each in (model.query, model.key, model.value))
    gates = torch.log1p(torch.exp(model.gate(x))).reshape(length, heads, model.levels + 1)
    rows = []
    for t in range(length):
        read = torch.zeros(heads, width, dtype=x.dtype)
        for level, times in buckets(t).items():
            for h in range(heads):
                state = sum(torch.outer(k[s, h], v[s, h]) for s in times)
                read[h] += gates[t, h, level] * (q[t, h] @ state) / math.sqrt(width)
        rows.append(model.output(read.flatten()))
    return torch.stack(rows)


@torch.no_grad()
def test_the_scan_is_the_formula_bucket_by_bucket():
    model, x = built(), drawn(2, 80, 8)
    torch.testing.assert_close(model(x)[1], one_by_one(model, x[1]), rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65, 128, 257, LENGTH])
def test_the_recurrence_is_the_scan(length):
    model, x = built(), drawn(2, length, 8)
    expected, last = model.scan(x)
    state, outputs = model.initial_state(2), []
    for each in x.unbind(1):
        y, state = model.step(each, state)
        outputs.append(y)
    # Sums of at most 300 terms of order 10.
    torch.testing.assert_close(torch.stack(outputs, 1), expected, rtol=1e-11, atol=1e-10)
    torch.testing.assert_close(state, last, rtol=1e-11, atol=1e-10)


def test_states_are_those_of_a_fenwick_tree_log_many():
    model, x = built(), drawn(1, LENGTH, 8)
    k = model.key(x)[0].reshape(LENGTH, 2, 4)
    v = model.value(x)[0].reshape(LENGTH, 2, 4)
    state = model.initial_state(1)
    for t, each in enumerate(x.unbind(1)):
        states, time = state
        assert int(time) == t
        alive = [level + 1 for level in range(model.levels) if states[level].any()]
        expected = buckets(t)
        assert [0, *alive] == sorted(expected)
        # The bound of the paper, for the sequence so far: the token's own and log₂ of the length.
        assert 1 + len(alive) <= math.log2(t + 1) + 1
        # The buckets are all of the past, each time once.
        assert sorted(s for times in expected.values() for s in times) == list(range(t + 1))
        if t % 37 == 0:
            for level in alive:
                times = expected[level]
                total = torch.einsum("shd,she->hde", k[times], v[times])
                torch.testing.assert_close(states[level - 1][0], total, rtol=1e-11, atol=1e-11)
        state = model.step(each, state)[1]


def test_with_all_gates_one_it_is_linear_attention():
    model, x = built(), drawn(2, LENGTH, 8)
    nn.init.zeros_(model.gate.weight)
    linear = LinearAttention(8, 2, normalised=False).double()
    linear.load_state_dict({name: each for name, each in model.state_dict().items() if not name.startswith("gate")})
    # The model was made in float32; in float64 softplus(log(e − 1)) is 1 to the last digit.
    model.gate.bias.data.fill_(math.log(math.e - 1))
    torch.testing.assert_close(model(x), linear(x), rtol=1e-11, atol=1e-10)
    nn.init.normal_(model.gate.weight)
    assert (model(x) - linear(x)).abs().max() > 0.1


@pytest.mark.parametrize("cut", [1, 64, 200])
def test_reading_in_parts_is_reading_at_once(cut):
    model, x = built(), drawn(2, 220, 8)
    expected, last = model.scan(x)
    first, state = model.scan(x[:, :cut])
    second, end = model.scan(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), expected, rtol=1e-11, atol=1e-10)
    torch.testing.assert_close(end, last, rtol=1e-11, atol=1e-10)


def test_it_is_a_recurrence():
    scans_in_sight(built())
    # Sums of at most 150 terms of order 10.
    reads_step_by_step(built(), steps=150, atol=1e-10, rounding=1e-3)
    assert sees_no_later_step(built(), steps=150)
    refuses_what_does_not_fit(built(), at_once=True)


def test_the_past_does_not_depend_on_the_future_in_any_digit():
    model, x = built().float(), drawn(1, LENGTH, 8).float()
    changed = torch.cat([x[:, :100], 1e3 * x[:, 100:]], 1)
    assert torch.equal(model(x)[:, :100], model(changed)[:, :100])
    assert not torch.equal(model(x)[:, 100:], model(changed)[:, 100:])


def test_gates_begin_around_one():
    torch.manual_seed(0)
    gate = LogLinearAttention(64, 4, longest=16).gate
    opened = nn.functional.softplus(gate(torch.zeros(64)))
    torch.testing.assert_close(opened, torch.ones(20), rtol=0, atol=1e-6)
    assert gate.weight.abs().max() > 0


def test_parameters_follow_the_formula():
    d, heads, levels = 8, 2, 9
    count = sum(parameter.numel() for parameter in built(longest=400).parameters())
    assert count == 4 * d * d + 4 * d + heads * (levels + 1) * (d + 1)


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    model = nn.Sequential(LogLinearAttention(16, 2, longest=8), nn.Flatten(), nn.Linear(7 * 16, 4)).float()
    x, targets = drawn(16, 7, 16).float(), 2 * drawn(16, 4, seed=1).float()
    overfits(model, x, targets, nn.functional.mse_loss, steps=200)


def test_one_step_is_enough_and_nan_comes_out():
    assert LogLinearAttention(8, 2, longest=1)(torch.zeros(3, 1, 8)).shape == (3, 1, 8)
    x = drawn(1, LENGTH, 8)
    x[0, 70, 1] = math.nan
    assert built()(x)[0, 70:].isnan().all()


X = torch.zeros(2, 5, 8)


def small(longest=8, heads=2):
    return LogLinearAttention(8, heads, longest=longest)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: LogLinearAttention(8, 3), "width is 8, and heads 3"),
        (lambda: LogLinearAttention(8, 2, longest=0), "longest is 0"),
        (lambda: small()(X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: small()(X[:, :0]), r"\[2, 0, 8\]"),
        (lambda: small()(X.long()), "int64"),
        (lambda: small()(X.repeat(1, 2, 1)), "has 10 steps"),
        (lambda: small().scan(X, small().scan(X)[1]), "has 9 steps"),
        (lambda: small().scan(X, small(16).initial_state(2)), "state's shapes"),
        (lambda: small().scan(X, small(heads=4).initial_state(2)), "state's shapes"),
        (lambda: small().scan(X, small().initial_state(1)), "state's shapes"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
