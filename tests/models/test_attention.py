"""Multi-head attention against torch's, as a set function, and as the solution of a transport problem."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepscope.core import UsageError
from deepscope.models import ContextualPositions, LinearBiases, MultiHeadAttention, RotaryPositions


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(*arguments, **options):
    torch.manual_seed(0)
    model = MultiHeadAttention(*arguments, **options).double()
    for module in model.modules():
        if isinstance(module, ContextualPositions):
            nn.init.normal_(module.embedding)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias)
    return model


OPTIONS = {
    "plain": lambda: built(8, 2, causal=True),
    "grouped": lambda: built(8, 4, key_value_heads=2, causal=True, bias=False),
    "rotary": lambda: built(8, 2, causal=True, rotary=RotaryPositions(4)),
    "linear-biases": lambda: built(8, 2, causal=True, score_bias=LinearBiases(2)),
    "contextual": lambda: built(8, 2, causal=True, score_bias=ContextualPositions(4, 6)),
}
EACH = pytest.mark.parametrize("make", OPTIONS.values(), ids=OPTIONS.keys())


def torchs(model):
    twin = nn.MultiheadAttention(model.width, model.num_heads, batch_first=True, dtype=torch.float64)
    parts = (model.query, model.key, model.value)
    with torch.no_grad():
        twin.in_proj_weight.copy_(torch.cat([each.weight for each in parts]))
        twin.in_proj_bias.copy_(torch.cat([each.bias for each in parts]))
        twin.out_proj.load_state_dict(model.output.state_dict())
    return twin


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_torchs(causal, padded):
    """Twin: ``torch.nn.MultiheadAttention``, outputs and weights."""
    model, x = built(12, 3, causal=causal), drawn(2, 7, 12)
    padding = torch.arange(7) >= torch.tensor([[7], [4]]) if padded else None
    mask = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.bool) if causal else None
    expected, weights = torchs(model)(x, x, x, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False)
    torch.testing.assert_close(model(x, padding=padding), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.weights(x, padding=padding), weights, rtol=0, atol=1e-12)


def test_attention_to_a_context_is_torchs():
    """Twin: ``torch.nn.MultiheadAttention`` with other keys."""
    model, x, context = built(12, 3), drawn(2, 4, 12), drawn(2, 6, 12, seed=1)
    expected, weights = torchs(model)(x, context, context, average_attn_weights=False)
    torch.testing.assert_close(model(x, context), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.weights(x, context), weights, rtol=0, atol=1e-12)


def order_dependence(model, x):
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(3))
    return (model(x[:, order]) - model(x)[:, order]).abs().max().item()


def test_without_positions_it_is_equivariant_under_permutations():
    model, x = built(16, 4).float(), drawn(3, 20, 16, dtype=torch.float32)
    assert order_dependence(model, x) < 1e-6
    # What knows of the order is caught: each kind of positions, and causality.
    rotary = built(16, 4, rotary=RotaryPositions(4)).float()
    biased = built(16, 4, score_bias=LinearBiases(4)).float()
    causal = built(16, 4, causal=True).float()
    assert min(order_dependence(each, x) for each in (rotary, biased, causal)) > 1e-3


def test_scores_have_variance_one():
    d, n = 64, 400
    queries, keys = drawn(n, d), drawn(n, d, seed=1)
    scores = queries @ keys.T
    # n² scores of 2n independent vectors; the variance of q·k has a relative standard error near √(2/n): 5 of them.
    error = 5 * math.sqrt(2 / n)
    assert (scores / math.sqrt(d)).var().item() == pytest.approx(1.0, rel=error)
    model = built(d, 1, bias=False)
    nn.init.eye_(model.query.weight)
    nn.init.eye_(model.key.weight)
    weights = model.weights(queries[None], keys[None])[0, 0]
    # log of the weights is the score, up to a constant per row.
    logs = weights.log()
    expected = scores / math.sqrt(d)
    torch.testing.assert_close(
        logs - logs.mean(1, keepdim=True), expected - expected.mean(1, keepdim=True), rtol=0, atol=1e-10
    )


def transported(scores, temperature):
    """Maximise p·s + τ H(p) over the simplex by Newton's method, which knows nothing of exponentials; one row."""
    p = torch.full_like(scores, 1 / len(scores))

    def cost(p):
        return -(p @ scores) + temperature * (p @ p.log())

    for _ in range(200):
        gradient = -scores + temperature * (p.log() + 1)
        step = -(p / temperature) * (gradient - p @ gradient)
        step -= p * step.sum()
        decrement = temperature * (step.square() / p).sum()
        if decrement < 1e-26:
            break
        rate = 1.0
        # Below 1e-10 differences of the cost are lost to rounding; there Newton's whole steps converge.
        while (p + rate * step).min() <= 0 or (
            decrement > 1e-10 and cost(p + rate * step) > cost(p) - 0.25 * rate * decrement
        ):
            rate /= 2
        p = p + rate * step
        p /= p.sum()
    return p


@pytest.mark.demonstrates("attention-ot")
def test_its_weights_solve_one_sided_optimal_transport():
    """Forward: the entropic transport problem, solved otherwise. Backward: the policy gradient with advantages.

    Source: ``litman2025scaled``.
    """
    n, d, heads = 48, 16, 2
    model, x = built(d, heads), 1.5 * drawn(1, n, d)
    kept = {}
    model.query.register_forward_hook(lambda module, inputs, output: kept.update(query=output))
    weights = model.weights(x)[0].detach()
    y, downstream = model(x), drawn(1, n, d, seed=2)
    kept["query"].retain_grad()
    (y * downstream).sum().backward()
    gradients = kept["query"].grad[0].unflatten(-1, (heads, -1))
    keys, values = (part(x)[0].detach().unflatten(-1, (heads, -1)) for part in (model.key, model.value))
    queries = kept["query"].detach()[0].unflatten(-1, (heads, -1))
    reads = (downstream[0] @ model.output.weight.detach()).unflatten(-1, (heads, -1))
    temperature = math.sqrt(d / heads)
    for h in range(heads):
        for t in range(n):
            scores = keys[:, h] @ queries[t, h]
            p = transported(scores, temperature)
            assert (weights[h, t] - p).abs().max() < 1e-8
            primal = p @ scores - temperature * (p @ p.log())
            dual = temperature * torch.logsumexp(scores / temperature, 0)
            assert abs(primal - dual) < 1e-8
            # Reward of reading value j; the mean reward is the baseline; ∇ log p_j = (e_j − p)/τ.
            reward = values[:, h] @ reads[t, h]
            advantage = reward - p @ reward
            policy = ((p * advantage)[:, None] * (torch.eye(n) - p) / temperature).sum(0)
            assert (gradients[t, h] - policy @ keys[:, h]).abs().max() < 1e-8
    # The transport with both marginals prescribed is another: the comparison would see it.
    balanced = weights[0].clone()
    for _ in range(200):
        balanced = balanced / balanced.sum(0)
        balanced = balanced / balanced.sum(1, keepdim=True)
    assert (balanced - weights[0]).abs().max() > 0.01


@EACH
def test_what_it_reads_is_the_weighted_mean_of_values(make):
    """Twin: the matrix of weights, of which each row sums to 1, times the values."""
    model, x = make(), drawn(2, 9, 8)
    weights = model.weights(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, model.num_heads, 9, dtype=torch.float64))
    assert weights.triu(1).abs().max() == 0
    values = model.value(x).unflatten(-1, (model.num_key_value_heads, -1)).transpose(1, 2)
    values = torch.cat([values[:, h // (model.num_heads // values.shape[1]), None] for h in range(model.num_heads)], 1)
    expected = model.output((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


@EACH
@pytest.mark.parametrize("cuts", [(1,), (4,), (3, 4, 8)])
def test_reading_in_parts_is_reading_at_once(make, cuts):
    model, x = make(), drawn(2, 9, 8)
    expected, state, outputs = model(x), None, []
    for part in torch.tensor_split(x, cuts, dim=1):
        y, state = model.scan(part, state)
        outputs.append(y)
    # The same sums in another order, of numbers of order 1.
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=0, atol=1e-12)
    assert state[0].shape[-2] == 9


def sees_the_future(model, x):
    x = x.clone().requires_grad_()
    model(x)[:, 3].sum().backward()
    return x.grad[:, 4:].abs().max().item() > 0


def test_causal_attention_sees_the_past_alone():
    x = drawn(2, 9, 8)
    assert not any(sees_the_future(make(), x) for make in OPTIONS.values())
    assert sees_the_future(built(8, 2), x)


def test_grouped_heads_are_heads_with_equal_keys_and_values():
    grouped, full, x = built(12, 6, key_value_heads=2), built(12, 6), drawn(2, 5, 12)
    with torch.no_grad():
        full.load_state_dict(
            {
                name: each.unflatten(0, (2, 2)).repeat_interleave(3, 0).flatten(0, 1)
                if name.startswith(("key", "value"))
                else each
                for name, each in grouped.state_dict().items()
            }
        )
    torch.testing.assert_close(grouped(x), full(x), rtol=0, atol=1e-13)
    d, share = 12, 1 / 3
    assert sum(p.numel() for p in grouped.parameters()) == d * d * (2 + 2 * share) + d * (2 + 2 * share)


def test_padding_is_as_if_it_were_not_there():
    model, x = built(8, 2), drawn(2, 7, 8)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[0, 5:] = padding[1, :2] = True
    y = model(x, padding=padding)
    torch.testing.assert_close(y[:1, :5], model(x[:1, :5]), rtol=0, atol=1e-13)
    torch.testing.assert_close(y[1:, 2:], model(x[1:, 2:]), rtol=0, atol=1e-13)
    assert (y - model(x)).abs().max() > 1e-3


def test_biases_know_the_distance_also_where_queries_outnumber_keys():
    model, x, context = built(8, 2, score_bias=LinearBiases(2)), drawn(1, 5, 8), drawn(1, 3, 8, seed=1)
    whole = torch.cat([drawn(1, 2, 8, seed=2), context], 1)
    padding = torch.tensor([[True, True, False, False, False]])
    torch.testing.assert_close(model(x, context), model(x, whole, padding=padding), rtol=0, atol=1e-13)


def test_one_step_is_enough_and_nan_comes_out():
    model = built(8, 2, causal=True)
    assert model(drawn(3, 1, 8)).shape == (3, 1, 8)
    x = drawn(1, 5, 8)
    x[0, 2, 1] = math.nan
    y = model(x)
    assert y[0, 2:].isnan().all()


@EACH
def test_no_sequence_is_no_error(make):
    assert make()(drawn(0, 5, 8)).shape == (0, 5, 8)
    assert make().weights(drawn(0, 5, 8)).shape[::2] == (0, 5)


def test_its_weights_begin_as_glorot_and_bengio_propose():
    for options, widths in (({}, (96, 96, 96, 96)), ({"key_value_heads": 1}, (96, 24, 24, 96))):
        torch.manual_seed(0)
        model = MultiHeadAttention(96, 4, **options)
        for layer, width in zip((model.query, model.key, model.value, model.output), widths, strict=True):
            bound = (6 / (96 + width)) ** 0.5
            # Of 2,304 draws at least, the largest is within a hundredth of the bound, with certainty but for e^−23.
            assert 0.99 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()


def hidden(*places):
    padding = torch.zeros(2, 5, dtype=torch.bool)
    for place in places:
        padding[0, place] = True
    return padding


X = torch.zeros(2, 5, 8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: MultiHeadAttention(8, 3), "width is 8, and heads 3"),
        (lambda: MultiHeadAttention(8, 4, key_value_heads=3), "heads is 4, and key_value_heads 3"),
        (lambda: MultiHeadAttention(0, 1), "width is 0"),
        (lambda: MultiHeadAttention(8, 2, score_bias=ContextualPositions(4, 3)), "Set causal"),
        (lambda: MultiHeadAttention(8, 2, rotary=RotaryPositions(2)), "head_size of RotaryPositions is 2.*\nGive 4"),
        (lambda: MultiHeadAttention(8, 2, score_bias=LinearBiases(1)), "heads of LinearBiases is 1.*\nGive 2"),
        (
            lambda: MultiHeadAttention(8, 2, causal=True, score_bias=ContextualPositions(8, 3)),
            "head_size of ContextualPositions is 8.*\nGive 4",
        ),
        (lambda: MultiHeadAttention(8, 2)(X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: MultiHeadAttention(8, 2)(X[:, :0]), r"\[2, 0, 8\]"),
        (lambda: MultiHeadAttention(8, 2)(X.long()), "int64"),
        (lambda: MultiHeadAttention(8, 2)(X, X[:, :, :4]), r"\[2, 5, 4\]"),
        (lambda: MultiHeadAttention(8, 2)(X, X[:1]), "2 sequences of queries, 1 of keys"),
        (lambda: MultiHeadAttention(8, 2, causal=True)(X, X), "causal"),
        (lambda: MultiHeadAttention(8, 2)(X, padding=hidden()[:, :3]), r"padding is \[2, 3\]"),
        (lambda: MultiHeadAttention(8, 2)(X, padding=hidden().long()), "of int64"),
        (lambda: MultiHeadAttention(8, 2)(X, padding=hidden(0, 1, 2, 3, 4)), "hides all"),
        (lambda: MultiHeadAttention(8, 2, causal=True)(X, padding=hidden(0)), "hides all"),
        (lambda: MultiHeadAttention(8, 2).weights(X, padding=hidden(0, 1, 2, 3, 4)), "hides all"),
        (lambda: MultiHeadAttention(8, 2).scan(X), "later"),
        (lambda: MultiHeadAttention(8, 2, causal=True).scan(X, (None, None)), "state's parts are none"),
        (lambda: MultiHeadAttention(8, 2, causal=True).scan(X, torch.zeros(2, 2, 5, 4)), "state's parts are none"),
        (
            lambda: MultiHeadAttention(8, 2, causal=True).scan(X, MultiHeadAttention(8, 4, causal=True).scan(X)[1]),
            "state's shapes",
        ),
        (
            lambda: MultiHeadAttention(8, 2, causal=True).scan(X, MultiHeadAttention(8, 2, causal=True).scan(X[:1])[1]),
            "state's shapes",
        ),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
