"""FNet against the one of transformers, and its mixing against matrices of cosines and sines."""

from __future__ import annotations

import math

import pytest
import torch
from contract import overfits
from torch.nn.functional import cross_entropy
from transformers import FNetConfig, FNetForMaskedLM

from deepscope.core import UsageError
from deepscope.models import FNet, FourierMixing, fnet_base, fnet_large

SIZES = {"vocabulary": 17, "longest": 9, "width": 12, "hidden_size": 20, "num_layers": 2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken():
    torch.manual_seed(0)
    model = FNet(**SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double()


@torch.no_grad()
def reference(model):
    config = FNetConfig(
        vocab_size=17, hidden_size=12, num_hidden_layers=2, intermediate_size=20, max_position_embeddings=9,
        layer_norm_eps=1e-12, hidden_act="gelu_new", use_tpu_fourier_optimizations=False,
    )  # fmt: skip
    twin = FNetForMaskedLM(config).double().eval()
    embeddings, head = twin.fnet.embeddings, twin.cls.predictions
    embeddings.word_embeddings.weight.copy_(model.embedding.weight)
    embeddings.position_embeddings.weight.copy_(model.positions.embedding.weight)
    embeddings.token_type_embeddings.weight.zero_()
    pairs = [
        (model.embedding_norm, embeddings.LayerNorm),
        (model.projection, embeddings.projection),
        (model.transform, head.transform.dense),
        (model.transform_norm, head.transform.LayerNorm),
    ]
    for ours, theirs in zip(model.encoder.layers, twin.fnet.encoder.layer, strict=True):
        pairs += [
            (ours.attention_norm, theirs.fourier.output.LayerNorm),
            (ours.feed_forward.hidden, theirs.intermediate.dense),
            (ours.feed_forward.output, theirs.output.dense),
            (ours.feed_forward_norm, theirs.output.LayerNorm),
        ]
    for one, other in pairs:
        other.load_state_dict(one.state_dict())
    head.decoder.weight.copy_(model.head.weight)
    head.decoder.bias.copy_(model.head.bias)
    return twin


def test_it_is_the_network_that_transformers_builds():
    """Twin: ``transformers.FNetForMaskedLM``."""
    model, tokens = shaken(), torch.randint(17, (2, 9), generator=generator())
    torch.testing.assert_close(model(tokens), reference(model)(tokens).logits, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("time", "width"), [(1, 4), (6, 1), (7, 5)])
def test_mixing_is_by_cosines_and_sines(time, width):
    """Twin: the matrices C and S of the formula."""
    x = torch.randn(2, time, width, generator=generator(), dtype=torch.float64)

    def angles(n):
        return torch.tensor([[2 * math.pi * i * j / n for j in range(n)] for i in range(n)], dtype=torch.float64)

    over_time, over_features = angles(time), angles(width)
    expected = over_time.cos() @ x @ over_features.cos() - over_time.sin() @ x @ over_features.sin()
    # Sums of at most 35 terms of order 1.
    torch.testing.assert_close(FourierMixing()(x), expected, rtol=0, atol=1e-13)


def test_parameters_are_those_of_the_papers_table():
    with torch.device("meta"):
        base, large = fnet_base(), fnet_large()
    for model, published in ((base, 83), (large, 238)):
        count = sum(parameter.numel() for parameter in model.parameters())
        # The table is in whole millions; segments and the task of the next sentence make up less than one.
        assert count / 1e6 == pytest.approx(published, abs=1.1)


def test_it_learns_sixteen_sequences_by_heart():
    torch.manual_seed(0)
    tokens = torch.randint(12, (16, 5), generator=generator())

    def loss(logits, targets):
        return cross_entropy(logits.flatten(0, 1), targets.flatten())

    overfits(FNet(12, 5, 24, 48, 1), tokens, tokens.roll(1, 1), loss, steps=200, below=0.05)


def test_one_token_is_enough_and_nan_comes_out():
    assert FNet(**SIZES)(torch.zeros(2, 1, dtype=torch.int64)).shape == (2, 1, 17)
    x = torch.zeros(2, 4, 4)
    x[0, 1, 1] = math.nan
    y = FourierMixing()(x)
    # At every position; not in every number, where the transform adds it nowhere.
    assert y[0].isnan().any(-1).all()
    assert y[1].isfinite().all()


TOKENS = torch.zeros(2, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: FNet(**{**SIZES, "width": 0}), "width is 0"),
        (lambda: FNet(**{**SIZES, "num_layers": 0}), "num_layers is 0"),
        (lambda: FNet(**SIZES)(TOKENS + 17), "run from 17"),
        (lambda: FNet(**SIZES)(TOKENS.float()), "float32"),
        (lambda: FNet(**SIZES)(TOKENS[:, :0]), r"\[2, 0\]"),
        (lambda: FNet(**SIZES)(TOKENS.repeat(1, 2)), "has 10 steps"),
        (lambda: FourierMixing()(TOKENS), "int64"),
        (lambda: FourierMixing()(torch.zeros(2, 0, 3)), r"\[2, 0, 3\]"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
