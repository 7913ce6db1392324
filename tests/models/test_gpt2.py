"""GPT-2 against the one of transformers."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from deepscope.core import UsageError
from deepscope.models import GPT2, gpt2, gpt2_large, gpt2_medium, gpt2_xl

SIZES = {"vocabulary": 17, "longest": 12, "width": 16, "heads": 4, "num_layers": 3}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken():
    torch.manual_seed(0)
    model = GPT2(**SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.double()


@torch.no_grad()
def reference(model):
    """Return the model of transformers with the same weights; its linear maps hold transposed matrices."""
    config = GPT2Config(vocab_size=17, n_positions=12, n_embd=16, n_layer=3, n_head=4)
    twin = GPT2LMHeadModel(config).double().eval()
    whole = twin.transformer
    whole.wte.weight.copy_(model.embedding.weight)
    whole.wpe.weight.copy_(model.body.positions.embedding.weight)
    whole.ln_f.load_state_dict(model.body.norm.state_dict())
    for layer, block in zip(model.body.layers, whole.h, strict=True):
        block.ln_1.load_state_dict(layer.attention_norm.state_dict())
        block.ln_2.load_state_dict(layer.feed_forward_norm.state_dict())
        parts = (layer.attention.query, layer.attention.key, layer.attention.value)
        block.attn.c_attn.weight.copy_(torch.cat([each.weight for each in parts]).T)
        block.attn.c_attn.bias.copy_(torch.cat([each.bias for each in parts]))
        pairs = (
            (block.attn.c_proj, layer.attention.output),
            (block.mlp.c_fc, layer.feed_forward.hidden),
            (block.mlp.c_proj, layer.feed_forward.output),
        )
        for theirs, ours in pairs:
            theirs.weight.copy_(ours.weight.T)
            theirs.bias.copy_(ours.bias)
    return twin


def test_it_is_the_network_that_transformers_builds():
    """Twin: ``transformers.GPT2LMHeadModel``; logits, gradients, and decoding from its cache."""
    model = shaken()
    twin, tokens = reference(model), torch.randint(17, (2, 12), generator=generator())
    logits, expected = model(tokens), twin(tokens).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    logits.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(model.embedding.weight.grad, twin.transformer.wte.weight.grad, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        model.body.layers[0].attention.query.weight.grad,
        twin.transformer.h[0].attn.c_attn.weight.grad[:, :16].T,
        rtol=0,
        atol=1e-10,
    )


def test_reading_token_by_token_is_reading_at_once():
    model, tokens = shaken(), torch.randint(17, (2, 12), generator=generator())
    expected, state, logits = model(tokens), None, []
    for time in range(12):
        one, state = model.scan(tokens[:, time : time + 1], state)
        logits.append(one)
    torch.testing.assert_close(torch.cat(logits, 1), expected, rtol=0, atol=1e-11)
    with pytest.raises(UsageError, match="has 13 steps"):
        model.scan(tokens[:, :1], state)


@pytest.mark.parametrize(
    ("build", "count"),
    [(gpt2, 124_439_808), (gpt2_medium, 354_823_168), (gpt2_large, 774_030_080), (gpt2_xl, 1_557_611_200)],
)
def test_parameters_are_those_of_the_published_weights(build, count):
    with torch.device("meta"):
        model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_weights_begin_as_the_authors_code_draws_them():
    torch.manual_seed(0)
    model = GPT2(vocabulary=300, longest=300, width=64, heads=4, num_layers=2)
    # The standard deviation of n numbers has a relative standard error of 1/√2n; the fewest are 64² here: 5 of them.
    for weight, expected in (
        (model.body.layers[1].attention.query.weight, 0.02),
        (model.body.layers[1].attention.output.weight, 0.01),
        (model.body.layers[1].feed_forward.output.weight, 0.01),
        (model.body.positions.embedding.weight, 0.01),
        (model.embedding.weight, 0.02),
    ):
        assert weight.std().item() == pytest.approx(expected, rel=5 / (2 * 64**2) ** 0.5)


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    text = torch.randint(16, (16, 9), generator=generator())
    text[:, 0] = torch.arange(16)

    def loss(logits, targets):
        return cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = GPT2(vocabulary=16, longest=8, width=32, heads=4, num_layers=1)
    overfits(model, text[:, :-1], text[:, 1:], loss, steps=200, below=0.05)


TOKENS = torch.zeros(2, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: GPT2(**{**SIZES, "heads": 3}), "width is 16, and heads 3"),
        (lambda: GPT2(**{**SIZES, "longest": 0}), "longest is 0"),
        (lambda: GPT2(**SIZES)(TOKENS + 17), "run from 17"),
        (lambda: GPT2(**SIZES)(TOKENS.double()), "float64"),
        (lambda: GPT2(**SIZES)(TOKENS[:, :0]), r"\[2, 0\]"),
        (lambda: GPT2(**SIZES)(TOKENS.repeat(1, 3)), "has 15 steps"),
        (lambda: GPT2(**SIZES).scan(TOKENS.double()), "float64"),
        (lambda: GPT2(**SIZES).scan(TOKENS, GPT2(**{**SIZES, "num_layers": 2}).scan(TOKENS)[1]), "2 layers"),
        (lambda: GPT2(**SIZES).scan(TOKENS, GPT2(**{**SIZES, "heads": 2}).scan(TOKENS)[1]), "state's shapes"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()


def test_one_token_is_enough():
    assert GPT2(**SIZES)(TOKENS[:, :1]).shape == (2, 1, 17)
