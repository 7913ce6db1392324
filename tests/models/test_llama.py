"""Llama against the one of transformers."""

from __future__ import annotations

import pytest
import torch
from contract import overfits
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from deepscope.core import UsageError
from deepscope.models import GatedFeedForward, Llama, RotaryPositions, llama3_8b, llama_7b

SIZES = {"vocabulary": 17, "width": 16, "heads": 4, "num_layers": 2, "hidden_size": 20}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(**options):
    torch.manual_seed(0)
    model = Llama(**SIZES, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double()


def half_a_head_apart(weight, heads):
    """Reorder the columns of each head from (0, 1), (2, 3), … to planes half a head apart."""
    return torch.cat([weight.unflatten(0, (heads, -1))[:, each::2] for each in (0, 1)], 1).flatten(0, 1)


@torch.no_grad()
def reference(model, base=10_000.0, key_value_heads=4):
    config = LlamaConfig(
        vocab_size=17, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=key_value_heads, rms_norm_eps=1e-6, max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )  # fmt: skip
    twin = LlamaForCausalLM(config).double().eval()
    twin.model.embed_tokens.weight.copy_(model.embedding.weight)
    twin.model.norm.weight.copy_(model.body.norm.weight)
    twin.lm_head.weight.copy_(model.head.weight)
    for ours, theirs in zip(model.body.layers, twin.model.layers, strict=True):
        theirs.self_attn.q_proj.weight.copy_(half_a_head_apart(ours.attention.query.weight, 4))
        theirs.self_attn.k_proj.weight.copy_(half_a_head_apart(ours.attention.key.weight, key_value_heads))
        pairs = (
            (theirs.self_attn.v_proj, ours.attention.value),
            (theirs.self_attn.o_proj, ours.attention.output),
            (theirs.mlp.gate_proj, ours.feed_forward.gate),
            (theirs.mlp.up_proj, ours.feed_forward.hidden),
            (theirs.mlp.down_proj, ours.feed_forward.output),
            (theirs.input_layernorm, ours.attention_norm),
            (theirs.post_attention_layernorm, ours.feed_forward_norm),
        )
        for other, one in pairs:
            other.weight.copy_(one.weight)
    return twin


@pytest.mark.parametrize("options", [{}, {"key_value_heads": 2, "base": 500.0}])
def test_it_is_the_network_that_transformers_builds(options):
    """Twin: ``transformers.LlamaForCausalLM``, whose norms and angles are computed in float32 also for float64."""
    model, tokens = shaken(**options), torch.randint(17, (2, 12), generator=generator())
    torch.testing.assert_close(model(tokens), reference(model, **options)(tokens).logits, rtol=1e-5, atol=1e-5)


def test_reading_token_by_token_is_reading_at_once():
    model, tokens = shaken(key_value_heads=2), torch.randint(17, (2, 12), generator=generator())
    expected, state, logits = model(tokens), None, []
    for time in range(12):
        one, state = model.scan(tokens[:, time : time + 1], state)
        logits.append(one)
    torch.testing.assert_close(torch.cat(logits, 1), expected, rtol=0, atol=1e-11)


def test_the_gated_network_is_its_formula():
    network = GatedFeedForward(5, 7).double()
    x = torch.randn(3, 5, generator=generator(), dtype=torch.float64)
    gate = x @ network.gate.weight.T
    expected = (gate / (1 + torch.exp(-gate)) * (x @ network.hidden.weight.T)) @ network.output.weight.T
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("build", "count"), [(llama_7b, 6_738_415_616), (llama3_8b, 8_030_261_248)])
def test_parameters_are_those_of_the_published_weights(build, count):
    with torch.device("meta"):
        model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_the_third_generation_turns_more_slowly_and_divides_by_more():
    for build, base, epsilon in ((llama_7b, 10_000.0, 1e-6), (llama3_8b, 500_000.0, 1e-5)):
        with torch.device("meta"):
            model = build()
        rotary = [each for each in model.modules() if isinstance(each, RotaryPositions)]
        norms = [each for each in model.modules() if isinstance(each, nn.RMSNorm)]
        assert [len(rotary), len(norms)] == [32, 65]
        assert {each.base for each in rotary} == {base}
        assert {each.eps for each in norms} == {epsilon}


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    text = torch.randint(16, (16, 9), generator=generator())
    text[:, 0] = torch.arange(16)

    def loss(logits, targets):
        return cross_entropy(logits.flatten(0, 1), targets.flatten())

    overfits(Llama(16, 32, 4, 1, 64), text[:, :-1], text[:, 1:], loss, steps=200, below=0.05)


TOKENS = torch.zeros(2, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Llama(**{**SIZES, "heads": 3}), "width is 16, and heads 3"),
        (lambda: Llama(**SIZES, key_value_heads=3), "heads is 4, and key_value_heads 3"),
        (lambda: Llama(**{**SIZES, "heads": 16}), "head_size is 1"),
        (lambda: Llama(**{**SIZES, "num_layers": 0}), "num_layers is 0"),
        (lambda: Llama(**{**SIZES, "hidden_size": 0}), "hidden_size is 0"),
        (lambda: Llama(**SIZES)(TOKENS + 17), "run from 17"),
        (lambda: Llama(**SIZES)(TOKENS.double()), "float64"),
        (lambda: Llama(**SIZES)(TOKENS[:, :0]), r"\[2, 0\]"),
        (lambda: Llama(**SIZES).scan(TOKENS, Llama(**{**SIZES, "num_layers": 1}).scan(TOKENS)[1]), "1 layers"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()


def test_one_token_is_enough():
    assert Llama(**SIZES)(TOKENS[:, :1]).shape == (2, 1, 17)
