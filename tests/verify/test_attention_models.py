"""Every instrument that applies runs on every model of the attention families."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from contract import examined
from torch import nn

from deepscope.models import (
    GPT2,
    FeedForward,
    FNet,
    LanguageModel,
    LinearAttention,
    Llama,
    LogLinearAttention,
    ModernHopfield,
    MultiHeadAttention,
    QuadraticAttention,
    SpectralMixing,
    Transformer,
    TransformerEncoder,
    TransformerLayer,
    TransformerStack,
    VisionTransformer,
    macaron_encoder,
)

pytestmark = pytest.mark.verify


def layer(attention):
    return TransformerLayer(attention, FeedForward(8, 12), partial(nn.LayerNorm, 8), pre_norm=True)


def language_model(positions):
    body = TransformerEncoder(8, 2, 12, 1, causal=True, positions=positions, longest=6, pre_norm=True)
    return LanguageModel(11, 8, body)


MODELS = {
    "attention": lambda: MultiHeadAttention(8, 2),
    "transformer": lambda: Transformer(11, 8, 2, 12, 1),
    "encoder": lambda: TransformerEncoder(8, 2, 12, 1),
    "rotary": lambda: language_model("rotary"),
    "linear-biases": lambda: language_model("linear-biases"),
    "contextual": lambda: language_model("contextual"),
    "gpt2": lambda: GPT2(11, 6, 8, 2, 1),
    "llama": lambda: Llama(11, 8, 2, 1, 12, key_value_heads=1),
    "vit": lambda: VisionTransformer(8, 4, in_channels=1, classes=3, width=8, heads=2, num_layers=1),
    "fnet": lambda: FNet(11, 6, 8, 12, 1),
    "linear-attention": lambda: TransformerStack(8, [layer(LinearAttention(8, 2))]),
    "log-linear-attention": lambda: TransformerStack(8, [layer(LogLinearAttention(8, 2, longest=8))]),
    "fftnet": lambda: TransformerStack(8, [layer(SpectralMixing(8, 5, 2))]),
    "macaron": lambda: macaron_encoder(8, 2, 6, 1),
    "quadratic-attention": lambda: QuadraticAttention(2, 3, 4),
    "modern-hopfield": lambda: ModernHopfield(8, 5),
}
INPUTS = {"vit": (1, 8, 8), "quadratic-attention": (2, 5, 5), "modern-hopfield": (8,)}
READERS_OF_TOKENS = {"transformer", "rotary", "linear-biases", "contextual", "gpt2", "llama", "fnet"}


@pytest.mark.parametrize("name", MODELS)
def test_all_instruments_that_apply_run(name):
    torch.manual_seed(0)
    model, draws = MODELS[name](), torch.Generator().manual_seed(1)
    if name in READERS_OF_TOKENS:
        inputs = torch.randint(11, (12, 5), generator=draws)
    else:
        inputs = torch.randn(12, *INPUTS.get(name, (5, 8)), generator=draws)
    examined(model, inputs)
