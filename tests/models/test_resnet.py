"""Residual networks: the paper's table, what a block adds, and parity with an implementation that is in use."""

from __future__ import annotations

import pytest
import torch
from contract import behaves, overfits
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from deepscope.core import UsageError
from deepscope.models import (
    PaddedShortcut,
    ResidualBlock,
    ResNet,
    plain20,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet110,
)

SMALL = {
    "padded": {},
    "projected": {"projection": True},
    "bottleneck": {"bottleneck": True, "projection": True, "large_images": True},
    "plain": {"residual": False},
}


def small(**arguments: object) -> ResNet:
    return ResNet(**{"blocks": (1, 2), "channels": (8, 16), "classes": 4, **arguments})


def n_parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def multiplications(model: nn.Module, size: int) -> int:
    counter = FlopCounterMode(display=False)
    # With numbers: shapes alone go through Python, which takes several times as long.
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, 3, size, size))
    # The counter has two operations, where the paper has one of multiplying and adding.
    return counter.get_total_flops() // 2


@pytest.mark.demonstrates("repo-deep-residual")
def test_parameters_and_multiplications_are_those_of_the_paper() -> None:
    small_images = {20: (resnet20, 0.27), 32: (resnet32, 0.46), 44: (resnet44, 0.66), 56: (resnet56, 0.85)}
    small_images[110] = (resnet110, 1.7)
    for depth, (build, millions) in small_images.items():
        n = (depth - 2) // 6
        model = build()
        layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        assert len(layers) == depth
        assert n_parameters(model) == 97_216 * n - 21_926
        assert round(n_parameters(model) / 1e6, len(str(millions)) - 2) == millions
        stages = [(16, 16, 32), (16, 32, 16), (32, 64, 8)]
        convolutions = sum((a * b + (2 * n - 1) * b * b) * 9 * side**2 for a, b, side in stages)
        assert multiplications(model, 32) == 27 * 16 * 32**2 + convolutions + 640
    # Table 1. Its networks of 18 and 34 layers have padded shortcuts.
    for blocks, wide, billions in (((2, 2, 2, 2), False, 1.8), ((3, 4, 6, 3), False, 3.6), ((3, 4, 6, 3), True, 3.8)):
        channels = [(256 if wide else 64) * 2**stage for stage in range(4)]
        model = ResNet(blocks, channels, bottleneck=wide, projection=wide, large_images=True, classes=1000)
        # Two digits, of which the last is at times cut off.
        assert multiplications(model, 224) / 1e9 == pytest.approx(billions, abs=0.099)


@pytest.mark.parametrize(
    ("build", "expected"), [(resnet18, 11_689_512), (resnet34, 21_797_672), (resnet50, 25_557_032)]
)
def test_parameters_are_those_of_the_weights_in_use(build, expected: int) -> None:
    with torch.device("meta"):
        assert n_parameters(build()) == expected


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_adds_what_its_branch_computes_to_its_input(bottleneck: bool) -> None:
    torch.manual_seed(0)
    blocks = {
        residual: ResidualBlock(8, 8, bottleneck=bottleneck, residual=residual).double().eval()
        for residual in (True, False)
    }
    # A plain network has the same parameters, by the same names.
    blocks[False].load_state_dict(blocks[True].state_dict())
    x = torch.randn(3, 8, 5, 5, dtype=torch.float64)
    w = dict(blocks[True].named_parameters())
    h = x
    for index in range(1, 4 if bottleneck else 3):
        weight = w[f"branch.convolution{index}.weight"]
        h = functional.conv2d(h.clamp_min(0) if index > 1 else h, weight, padding=weight.shape[-1] // 2)
        h = h / (1 + 1e-5) ** 0.5
    # Sums of 72 terms, twice.
    torch.testing.assert_close(blocks[True](x), (x + h).clamp_min(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(blocks[False](x), h.clamp_min(0), rtol=0, atol=1e-12)
    for block in blocks.values():
        norms = [each for each in block.branch if isinstance(each, nn.BatchNorm2d)]
        nn.init.zeros_(norms[-1].weight)
    # With a branch that is 0 a residual block is the identity on what is not negative, a plain one loses everything.
    assert torch.equal(blocks[True](x.abs()), x.abs())
    assert not blocks[False](x.abs()).any()


def test_a_padded_shortcut_adds_channels_of_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    y = PaddedShortcut(3, 5, stride=2)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert y.shape == (2, 5, 3, 2)
    assert not y[:, 3:].any()
    with pytest.raises(UsageError, match="channels go from 4 to 3"):
        PaddedShortcut(4, 3)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_parity_with_transformers(bottleneck: bool) -> None:
    """The twin is transformers' ResNet, whose weights are copied."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    channels = (16, 32) if bottleneck else (8, 16)
    config = ResNetConfig(
        embedding_size=channels[0] // 4 if bottleneck else 8,
        hidden_sizes=list(channels),
        depths=[2, 2],
        layer_type="bottleneck" if bottleneck else "basic",
        downsample_in_bottleneck=True,
        num_labels=4,
    )
    twin = ResNetForImageClassification(config).eval()
    for norm in (each for each in twin.modules() if isinstance(each, nn.BatchNorm2d)):
        for parameter in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(parameter)
    model = small(blocks=(2, 2), channels=channels, bottleneck=bottleneck, projection=True, large_images=True).eval()
    copied = {}
    for name, value in twin.state_dict().items():
        parts = name.replace("resnet.encoder.stages", "stages").split(".")
        norm = "normalisation" if "normalization" in name else "convolution"
        if "embedder" in name:
            copied[f"stem.{norm}.{parts[-1]}"] = value
        elif parts[0] == "classifier":
            copied[f"output.{parts[-1]}"] = value
        else:
            place = f"stages.stage{int(parts[1]) + 1}.block{int(parts[3]) + 1}"
            where = "shortcut." + norm if parts[4] == "shortcut" else f"branch.{norm}{int(parts[5]) + 1}"
            copied[f"{place}.{where}.{parts[-1]}"] = value
    model.load_state_dict(copied)
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(x), twin(x).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_around_its_blocks_it_is_its_formula(kind: str) -> None:
    """The twin: what comes before the first block and after the last, by torch's functions."""
    torch.manual_seed(0)
    model = small(**SMALL[kind]).double().eval()
    x, w = torch.randn(3, 3, 32, 32, dtype=torch.float64), dict(model.named_parameters())
    large = "large_images" in SMALL[kind]
    size = {"stride": 2, "padding": 3} if large else {"padding": 1}
    h = (functional.conv2d(x, w["stem.convolution.weight"], **size) / (1 + 1e-5) ** 0.5).clamp_min(0)
    if large:
        h = functional.max_pool2d(h, 3, stride=2, padding=1)
    expected = model.stages(h).mean((2, 3)) @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["padded", "projected"])
def test_overfit(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 8, 8)
    overfits(small(**SMALL[kind]), x, torch.arange(16) % 4, functional.cross_entropy, steps=100)


@pytest.mark.parametrize("kind", SMALL)
def test_it_behaves(kind: str) -> None:
    torch.manual_seed(0)
    behaves(small(**SMALL[kind]), small(**SMALL[kind]), torch.randn(3, 3, 8, 8))


def test_weights_begin_as_he_s() -> None:
    torch.manual_seed(0)
    for module in resnet20().modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / (9 * module.out_channels)) ** 0.5
            # The standard deviation of n draws is off by a share of 1/√(2n); 432 weights at least: four of these.
            assert module.weight.std().item() == pytest.approx(expected, rel=4 / (2 * 432) ** 0.5)


def test_a_state_of_another_network_is_refused() -> None:
    # Without shortcuts there are the same parameters: a comparison can begin at the same weights.
    plain20().load_state_dict(resnet20().state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        small().load_state_dict(small(channels=(8, 24)).state_dict())


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)):
        with pytest.raises(UsageError, match=r"ResNet\nGive \[batch, 3, height, width\] of floating-point numbers"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    assert small().eval()(torch.zeros(2, 3, 1, 1)).shape == (2, 4)
    with pytest.raises(UsageError, match="1 numbers of blocks and 2 numbers of channels"):
        small(blocks=(1,))
    for wrong in ({"blocks": (0, 1)}, {"channels": (8, 0)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match=r"a bottleneck has 10 channels: ResidualBlock\nGive a multiple of 4"):
        small(bottleneck=True, channels=(8, 10))
    with pytest.raises(UsageError, match="channels go from 16 to 8"):
        small(channels=(16, 8))
