"""The Transformer against torch's, what may depend on what, and its published sizes."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import nn
from torch.nn.functional import cross_entropy

from deepscope.core import UsageError
from deepscope.models import (
    FeedForward,
    LanguageModel,
    MultiHeadAttention,
    SinusoidalPositions,
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    TransformerLayer,
    TransformerStack,
    transformer_base,
    transformer_big,
)

PRE_NORM = pytest.mark.parametrize("pre_norm", [False, True])
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "linear-biases", "contextual")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(model):
    """Leave no parameter at 0 or 1, so that no twin agrees by leaving it out."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.double()


def attention_into(ours, torchs):
    parts = (ours.query, ours.key, ours.value)
    torchs.in_proj_weight.copy_(torch.cat([each.weight for each in parts]))
    torchs.in_proj_bias.copy_(torch.cat([each.bias for each in parts]))
    torchs.out_proj.load_state_dict(ours.output.state_dict())


@torch.no_grad()
def torchs_layer(ours, kind, pre_norm):
    twin = kind(12, 3, 20, dropout=0.0, batch_first=True, norm_first=pre_norm, dtype=torch.float64)
    attention_into(ours.attention, twin.self_attn)
    norms = [ours.attention_norm, ours.feed_forward_norm]
    if kind is nn.TransformerDecoderLayer:
        attention_into(ours.cross_attention, twin.multihead_attn)
        norms.insert(1, ours.cross_attention_norm)
    for index, norm in enumerate(norms, start=1):
        getattr(twin, f"norm{index}").load_state_dict(norm.state_dict())
    twin.linear1.load_state_dict(ours.feed_forward.hidden.state_dict())
    twin.linear2.load_state_dict(ours.feed_forward.output.state_dict())
    return twin


@PRE_NORM
def test_the_encoder_is_torchs(pre_norm):
    """Twin: layers of ``torch.nn.TransformerEncoderLayer`` one after another."""
    model = TransformerEncoder(12, 3, 20, 2, attention_bias=True, positions="none", pre_norm=pre_norm)
    x, padding = drawn(2, 7, 12), torch.arange(7) >= torch.tensor([[7], [4]])
    y = expected = x
    for layer in shaken(model).layers:
        expected = torchs_layer(layer, nn.TransformerEncoderLayer, pre_norm)(expected, src_key_padding_mask=padding)
    if pre_norm:
        expected = model.norm(expected)
    y = model(x, padding=padding)
    # torch's fast path sets what is padded to 0.
    torch.testing.assert_close(y[~padding], expected[~padding], rtol=0, atol=1e-11)


@PRE_NORM
def test_the_decoder_is_torchs(pre_norm):
    """Twin: layers of ``torch.nn.TransformerDecoderLayer`` one after another."""
    model = shaken(TransformerDecoder(12, 3, 20, 2, attention_bias=True, pre_norm=pre_norm))
    x, context = drawn(2, 7, 12), drawn(2, 5, 12, seed=1)
    padding = torch.arange(5) >= torch.tensor([[5], [2]])
    mask = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    expected = model.positions(x)
    for layer in model.layers:
        twin = torchs_layer(layer, nn.TransformerDecoderLayer, pre_norm)
        expected = twin(expected, context, tgt_mask=mask, memory_key_padding_mask=padding)
    if pre_norm:
        expected = model.norm(expected)
    y = model(x, context, context_padding=padding)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)


@PRE_NORM
def test_a_layer_is_its_formula(pre_norm):
    layer = shaken(TransformerEncoder(12, 3, 20, 1, pre_norm=pre_norm)).layers[0]
    x = drawn(2, 7, 12)
    n1, n2, network = layer.attention_norm, layer.feed_forward_norm, layer.feed_forward
    if pre_norm:
        h = x + layer.attention(n1(x))
        expected = h + network(n2(h))
    else:
        h = n1(x + layer.attention(x))
        expected = n2(h + network(h))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-13)
    hidden = torch.relu(x @ network.hidden.weight.T + network.hidden.bias)
    torch.testing.assert_close(network(x), hidden @ network.output.weight.T + network.output.bias, rtol=0, atol=1e-13)


def test_the_whole_is_its_formula():
    """One matrix E: √d E_token + position at both entrances, E y at the exit; an encoder that ends without a norm."""
    model = shaken(Transformer(11, 16, 4, 32, 1))
    source = torch.randint(11, (3, 6), generator=generator())
    target = torch.randint(11, (3, 5), generator=generator(1))
    table, positions = model.embedding.weight, SinusoidalPositions(16)
    context = model.encoder.layers[0](positions(4.0 * table[source]))
    y = model.decoder.layers[0](positions(4.0 * table[target]), context)
    torch.testing.assert_close(model(source, target), y @ table.T, rtol=0, atol=1e-12)


def reach(model, source, target, *, token, of):
    """Where logits change when one token of the source or target does: times of the target, as booleans."""
    changed = {"source": source.clone(), "target": target.clone()}
    changed[of][:, token] = (changed[of][:, token] + 1) % model.vocabulary
    difference = model(**changed) - model(source, target)
    return (difference.abs().amax((0, 2)) > 0).tolist()


@PRE_NORM
def test_logits_depend_on_the_past_of_the_target_and_on_all_of_the_source(pre_norm):
    model = shaken(Transformer(11, 16, 4, 32, 2, pre_norm=pre_norm))
    source = torch.randint(11, (3, 6), generator=generator())
    target = torch.randint(11, (3, 5), generator=generator(1))
    for token in range(5):
        assert reach(model, source, target, token=token, of="target") == [time >= token for time in range(5)]
    for token in range(6):
        assert all(reach(model, source, target, token=token, of="source"))
    # A decoder that saw the future would be caught.
    for layer in model.decoder.layers:
        layer.attention.causal = False
    assert all(reach(model, source, target, token=4, of="target"))


def test_padding_of_the_source_is_as_if_it_were_not_there():
    model = shaken(Transformer(11, 16, 4, 32, 2))
    source = torch.randint(11, (2, 6), generator=generator())
    target = torch.randint(11, (2, 5), generator=generator(1))
    padding = torch.arange(6)[None].expand(2, 6) >= 4
    torch.testing.assert_close(
        model(source, target, source_padding=padding), model(source[:, :4], target), rtol=0, atol=1e-12
    )
    assert torch.equal(model(source), model(source, source))


def test_parameters_are_those_of_the_papers_table():
    """65 and 213 million with a shared vocabulary of "about 37,000" tokens."""
    with torch.device("meta"):
        base, big = transformer_base(), transformer_big()
    for model, published, d in ((base, 65e6, 512), (big, 213e6, 1024)):
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == 37_000 * d + 6 * (28 * d * d + 20 * d)
        # The table's numbers are of a vocabulary that is not told exactly; these are off by -3.0 % and 0.6 %.
        assert count == pytest.approx(published, rel=0.035)
    assert base.head.weight is base.embedding.weight


@PRE_NORM
@pytest.mark.parametrize("positions", POSITIONS)
def test_reading_in_parts_is_reading_at_once(positions, pre_norm):
    options = {"causal": True, "positions": positions, "longest": 9, "pre_norm": pre_norm}
    model = shaken(TransformerEncoder(8, 2, 16, 2, **options))
    x = drawn(2, 9, 8)
    expected, state, outputs = model(x), None, []
    for part in (x[:, :4], x[:, 4:5], x[:, 5:]):
        y, state = model.scan(part, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("positions", POSITIONS)
def test_only_without_positions_it_is_equivariant_under_permutations(positions):
    causal = positions == "contextual"
    model = shaken(TransformerEncoder(8, 2, 16, 2, causal=causal, positions=positions, longest=9))
    x, order = drawn(2, 9, 8), torch.randperm(9, generator=generator())
    difference = (model(x[:, order]) - model(x)[:, order]).abs().max().item()
    assert difference < 1e-12 if positions == "none" else difference > 1e-3


def token_loss(logits, targets):
    return cross_entropy(logits.flatten(0, 1), targets.flatten())


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    text = torch.randint(12, (16, 7), generator=generator())
    # One first token each: without it no model could tell the sequences apart.
    text[:, 0] = torch.arange(16)
    model = Transformer(16, 32, 4, 64, 1)
    overfits(model, text, text.roll(1, 1), token_loss, steps=150, below=0.05)


@pytest.mark.parametrize("positions", ["rotary", "linear-biases", "contextual"])
def test_the_causal_encoder_learns_sixteen_sequences_by_heart(positions):
    torch.manual_seed(0)
    text = torch.randint(12, (16, 7), generator=generator())
    text[:, 0] = torch.arange(16)
    body = TransformerEncoder(32, 4, 64, 1, causal=True, positions=positions, longest=8, pre_norm=True)
    overfits(LanguageModel(16, 32, body), text[:, :-1], text[:, 1:], token_loss, steps=150, below=0.05)


def test_dropout_acts_in_training_alone():
    model = TransformerEncoder(8, 2, 16, 1, dropout=0.5)
    x = torch.ones(1, 4, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def layer(**options):
    return TransformerLayer(MultiHeadAttention(8, 2, causal=True), FeedForward(8), lambda: nn.LayerNorm(8), **options)


def stack(layers):
    return TransformerStack(8, [layer() for _ in range(layers)])


X = torch.zeros(2, 5, 8)
TOKENS = torch.zeros(2, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: TransformerEncoder(8, 3, 16, 1), "width is 8, and heads 3"),
        (lambda: TransformerEncoder(8, 2, 16, 0), "num_layers is 0"),
        (lambda: TransformerEncoder(8, 2, 0, 1), "hidden_size is 0"),
        (lambda: TransformerEncoder(8, 2, 16, 1, positions="rotory"), "rotary"),
        (lambda: TransformerEncoder(7, 7, 16, 1), "width is 7"),
        (lambda: TransformerEncoder(8, 2, 16, 1, positions="learned", longest=4)(X), "has 5 steps"),
        (lambda: TransformerEncoder(8, 2, 16, 1)(X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: TransformerEncoder(8, 2, 16, 1)(X[:, :0]), r"\[2, 0, 8\]"),
        (lambda: TransformerEncoder(8, 2, 16, 1)(TOKENS), "int64"),
        (lambda: TransformerEncoder(8, 2, 16, 1).scan(X), "later"),
        (lambda: stack(1).scan(X, stack(2).scan(X)[1]), "2 layers"),
        # Those of recurrent networks: (h, c), and h.
        (lambda: stack(2).scan(X, (X[:, 0], X[:, 0])), "none of a Transformer"),
        (lambda: stack(2).scan(X, X[:, 0]), "none of a Transformer"),
        (lambda: layer(dropout=1.5), "dropout is 1.5"),
        (lambda: TransformerEncoder(8, 2, 16, 1, dropout=1.0), "dropout is 1.0"),
        (lambda: TransformerDecoder(8, 2, 16, 1, dropout=-0.1), "dropout is -0.1"),
        (lambda: TransformerStack(8, [nn.Identity()], dropout=2.0), "dropout is 2.0"),
        (lambda: TransformerStack(8, []), "layers is 0"),
        (lambda: layer(cross_attention=MultiHeadAttention(8, 2)).scan(X), "cross-attention is not read in parts"),
        (lambda: TransformerStack(8, [nn.Identity()]).scan(X), "Identity is not read in parts"),
        (lambda: TransformerLayer(nn.Identity(), FeedForward(8), nn.Identity).scan(X), "Identity is not read in parts"),
        (lambda: layer()(X, X), "context without"),
        (lambda: layer(cross_attention=MultiHeadAttention(8, 2))(X), "without a context"),
        (lambda: TransformerDecoder(8, 2, 16, 0), "num_layers is 0"),
        (lambda: TransformerDecoder(8, 2, 16, 1)(X, X[..., :7]), r"\[2, 5, 7\]"),
        (lambda: Transformer(0), "vocabulary is 0"),
        (lambda: Transformer(9, 8, 2, 16, 1)(TOKENS + 9), "run from 9"),
        (lambda: Transformer(9, 8, 2, 16, 1)(TOKENS, X), "float32"),
        (lambda: Transformer(9, 8, 2, 16, 1)(TOKENS, TOKENS[:1]), "1 sequences of queries, 2 of keys"),
        (lambda: Transformer(9, 8, 2, 16, 1)(TOKENS[:, :0], TOKENS), r"\[2, 0\]"),
        (lambda: Transformer(9, 8, 2, 16, 1)(TOKENS, source_padding=TOKENS == 0), "hides all"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()


def test_one_step_is_enough():
    assert Transformer(9, 8, 2, 16, 1)(TOKENS[:, :1]).shape == (2, 1, 9)
    assert TransformerEncoder(8, 2, 16, 1)(X[:, :1]).shape == (2, 1, 8)
