"""MLP-Mixer: no knowledge of neighbourhood, cost linear in tokens, the published sizes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from contract import overfits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deepscope import models
from deepscope.core import UsageError
from deepscope.models import MixerBlock, MLPMixer


def built(**sizes: int) -> MLPMixer:
    """Return a small mixer in float64 of 3×3 patches, its logits not 0."""
    torch.manual_seed(0)
    arguments = {"in_channels": 2, "channels": 6, "num_layers": 2, "token_width": 5, "channel_width": 7, "classes": 4}
    model = MLPMixer(12, 4, **{**arguments, **sizes}).double()
    nn.init.normal_(model.output.weight)
    return model


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 2, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def patches_in_order(x: Tensor, order: Tensor) -> Tensor:
    """Return images whose nine patches are in another order."""
    patches = x.reshape(-1, 2, 3, 4, 3, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 9, 2, 4, 4)[:, order]
    return patches.reshape(-1, 3, 3, 2, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(-1, 2, 12, 12)


def test_another_order_of_patches_is_another_order_of_token_weights() -> None:
    """One fixed permutation of the patches changes nothing but names: it is no harder to learn from."""
    model, x = built(), images()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    shuffled = patches_in_order(x, order)
    assert not torch.equal(shuffled, x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for block in other.blocks:
            block.token_mixing.hidden.weight.copy_(block.token_mixing.hidden.weight[:, order])
            block.token_mixing.output.weight.copy_(block.token_mixing.output.weight[order])
            block.token_mixing.output.bias.copy_(block.token_mixing.output.bias[order])
    torch.testing.assert_close(other(shuffled), model(x), rtol=0, atol=1e-12)
    # Without new weights it is another function; and of a convolution across patches no other order of weights exists.
    assert not torch.allclose(model(shuffled), model(x), atol=1e-2)


def test_it_computes_its_formula() -> None:
    """The twin goes through patches, channels and tokens in loops."""
    model, x = built(), images()

    def norm(layer: nn.LayerNorm, t: Tensor) -> Tensor:
        centred = t - t.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias

    def perceptron(layers: nn.Sequential, t: Tensor) -> Tensor:
        z = layers.hidden.weight @ t + layers.hidden.bias
        return layers.output.weight @ (z * (1 + torch.erf(z / math.sqrt(2))) / 2) + layers.output.bias

    for place, image in enumerate(x):
        kernel = model.patches.weight.flatten(1)
        corners = [(row, column) for row in (0, 4, 8) for column in (0, 4, 8)]
        tokens = [kernel @ image[:, r : r + 4, c : c + 4].flatten() + model.patches.bias for r, c in corners]
        t = torch.stack(tokens)
        for block in model.blocks:
            inside = norm(block.norm1, t)
            t = t + torch.stack([perceptron(block.token_mixing, inside[:, c]) for c in range(6)], 1)
            inside = norm(block.norm2, t)
            t = t + torch.stack([perceptron(block.channel_mixing, inside[s]) for s in range(9)])
        logits = model.output.weight @ norm(model.norm, t).mean(0) + model.output.bias
        torch.testing.assert_close(model(x)[place], logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("s32", 19), ("s16", 18), ("b32", 60), ("b16", 59), ("l32", 206), ("l16", 207), ("h14", 431)],
)
def test_the_published_sizes(name: str, millions: int) -> None:
    """The paper counts whole millions, without the logits."""
    with torch.device("meta"):
        model = getattr(models, f"mixer_{name}")()
    logits = sum(p.numel() for p in model.output.parameters())
    assert round((sum(p.numel() for p in model.parameters()) - logits) / 1e6) == millions


def test_the_cost_is_linear_in_the_number_of_tokens() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def operations(tokens: int) -> int:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            MixerBlock(tokens, 32, token_width=24, channel_width=64)(torch.zeros(1, tokens, 32))
        return counter.get_total_flops()

    assert [operations(tokens) for tokens in (10, 20, 40)] == [4 * tokens * 32 * (24 + 64) for tokens in (10, 20, 40)]


def test_a_block_has_the_parameters_of_its_formula() -> None:
    s, c, ds, dc = 9, 6, 5, 7
    block = MixerBlock(s, c, token_width=ds, channel_width=dc)
    assert sum(p.numel() for p in block.parameters()) == ds * (2 * s + 1) + s + dc * (2 * c + 1) + c + 4 * c


def test_weights_begin_with_variance_1_over_fan_in_and_logits_at_0() -> None:
    torch.manual_seed(0)
    model = MLPMixer(64, 8, channels=64, num_layers=1, token_width=96, channel_width=128, classes=5)
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer is not model.output:
            # Of at least 6,144 numbers: four standard errors.
            assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(1, abs=4 * (2 / 6144) ** 0.5)
    assert not model(torch.randn(2, 3, 64, 64)).any()


def test_sixteen_samples_are_learnt() -> None:
    torch.manual_seed(0)
    model = MLPMixer(8, 4, in_channels=1, channels=16, num_layers=1, token_width=8, channel_width=32, classes=3)
    overfits(model, torch.randn(16, 1, 8, 8), torch.randint(3, (16,)), cross_entropy, steps=200)


def test_its_state_is_taken_up_whole() -> None:
    first, second, x = built(), built(), images()
    nn.init.normal_(second.patches.weight)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_nan_is_not_hidden() -> None:
    x = images()
    x[1, 0, 3, 3] = torch.nan
    assert built()(x).isnan().all(1).tolist() == [False, True, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="an image of 12 pixels is no whole number of patches of 5"):
        MLPMixer(12, 5)
    for name in ("in_channels", "channels", "num_layers", "token_width", "channel_width", "classes"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            built(**{name: 0})
    model, x = built(), images()
    for wrong in (x[:, :1], x[0], x.long(), x[:, :, :8, :8]):
        with pytest.raises(UsageError, match=r"Give \[batch, 2, height, width\]"):
            model(wrong)
    with pytest.raises(UsageError, match="Give images of 12×12"):
        model(x.new_zeros(2, 2, 12, 16))
    for wrong in (torch.zeros(2, 8, 6), torch.zeros(9, 6), torch.zeros(2, 9, 6, dtype=torch.int64)):
        with pytest.raises(UsageError, match=r"Give \[batch, 9, 6\]"):
            MixerBlock(9, 6, token_width=5, channel_width=7)(wrong)
