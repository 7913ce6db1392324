"""The Vision Transformer against the one of transformers."""

from __future__ import annotations

import math

import pytest
import torch
from contract import overfits
from torch.nn.functional import cross_entropy
from transformers import ViTConfig, ViTForImageClassification

from deepscope.core import UsageError
from deepscope.models import VisionTransformer, vit_b_16, vit_b_32, vit_h_14, vit_l_16

SIZES = {"in_channels": 2, "classes": 5, "width": 12, "heads": 3, "num_layers": 2}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken():
    torch.manual_seed(0)
    model = VisionTransformer(8, 4, **SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.double()


@torch.no_grad()
def reference(model):
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=8, patch_size=4,
        num_channels=2, num_labels=5, layer_norm_eps=1e-5,
    )  # fmt: skip
    twin = ViTForImageClassification(config).double().eval()
    embeddings = twin.vit.embeddings
    embeddings.cls_token.copy_(model.class_token)
    embeddings.position_embeddings.copy_(model.encoder.positions.embedding.weight)
    embeddings.patch_embeddings.projection.load_state_dict(model.patches.state_dict())
    for ours, theirs in zip(model.encoder.layers, twin.vit.layers, strict=True):
        pairs = (
            (ours.attention_norm, theirs.layernorm_before),
            (ours.feed_forward_norm, theirs.layernorm_after),
            (ours.attention.query, theirs.attention.q_proj),
            (ours.attention.key, theirs.attention.k_proj),
            (ours.attention.value, theirs.attention.v_proj),
            (ours.attention.output, theirs.attention.o_proj),
            (ours.feed_forward.hidden, theirs.mlp.fc1),
            (ours.feed_forward.output, theirs.mlp.fc2),
        )
        for one, other in pairs:
            other.load_state_dict(one.state_dict())
    twin.vit.layernorm.load_state_dict(model.encoder.norm.state_dict())
    twin.classifier.load_state_dict(model.head.state_dict())
    return twin


def test_it_is_the_network_that_transformers_builds():
    """Twin: ``transformers.ViTForImageClassification``; logits and a gradient."""
    model, x = shaken(), torch.randn(3, 2, 8, 8, generator=generator(), dtype=torch.float64)
    twin = reference(model)
    logits, expected = model(x), twin(x).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    theirs = twin.vit.embeddings.patch_embeddings.projection.weight.grad
    torch.testing.assert_close(model.patches.weight.grad, theirs, rtol=1e-9, atol=1e-9)


def test_without_positions_the_order_of_patches_does_not_matter():
    model, x = shaken(), torch.randn(3, 2, 8, 8, generator=generator(), dtype=torch.float64)
    swapped = torch.cat([x[..., 4:], x[..., :4]], -1)
    assert (model(x) - model(swapped)).abs().max() > 1e-3
    model.encoder.positions.embedding.weight.data[:] = 0.0
    torch.testing.assert_close(model(x), model(swapped), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "count", "published"),
    [
        # The numbers of weights that are published for 1,000 classes; and the paper's table, in millions.
        (vit_b_16, 86_567_656, 86),
        (vit_b_32, 88_224_232, 88),
        (vit_l_16, 304_326_632, 307),
        (vit_h_14, 632_045_800, 632),
    ],
)
def test_parameters_are_those_of_the_published_weights(build, count, published):
    with torch.device("meta"):
        model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    # The table's large one is counted with a larger head.
    assert count / 1e6 == pytest.approx(published, rel=0.01)


def test_it_learns_sixteen_images_by_heart():
    torch.manual_seed(0)
    model = VisionTransformer(8, 4, in_channels=1, classes=4, width=32, heads=4, num_layers=1)
    images, classes = torch.randn(16, 1, 8, 8, generator=generator()), torch.arange(16) % 4
    overfits(model, images, classes, cross_entropy, steps=150)


def test_nan_comes_out():
    x = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    x[0, 0, 5, 5] = math.nan
    y = shaken()(x)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


X = torch.zeros(2, 2, 8, 8)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: VisionTransformer(9, 4), "image_size is 9, and patch_size 4"),
        (lambda: VisionTransformer(8, 4, width=10, heads=3), "width is 10, and heads 3"),
        (lambda: VisionTransformer(8, 4, **{**SIZES, "classes": 0}), "classes is 0"),
        (lambda: VisionTransformer(8, 4, **{**SIZES, "in_channels": 0}), "in_channels is 0"),
        (lambda: VisionTransformer(8, 4, **SIZES)(X[:, :1]), r"\[2, 1, 8, 8\]"),
        (lambda: VisionTransformer(8, 4, **SIZES)(X.repeat(1, 1, 2, 1)), "16 × 8"),
        (lambda: VisionTransformer(8, 4, **SIZES)(X.long()), "int64"),
        (lambda: VisionTransformer(8, 4, **SIZES)(X[0]), r"\[2, 8, 8\]"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(UsageError, match=match):
        call()
