"""Residual networks with pre-activation: a chain of blocks is a sum, without anything between input and output."""

from __future__ import annotations

import pytest
import torch
from contract import behaves, overfits
from torch import nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models import (
    PreActivationBlock,
    PreActivationResNet,
    ResidualBlock,
    preact_resnet110,
    preact_resnet164,
)


def small(**arguments: object) -> PreActivationResNet:
    return PreActivationResNet(**{"blocks": (1, 2), "channels": (8, 16), "classes": 4, **arguments})


def test_a_chain_of_blocks_is_a_sum_and_its_gradient_holds_the_identity() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(*[PreActivationBlock(6, 6) for _ in range(10)]).double().eval()
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    total, value = x, x
    for block in chain:
        added = block.branch(block.preactivation(value))
        total, value = total + added, value + added
    # The same sums in the same order.
    assert torch.equal(chain(x), total)
    for block in chain:
        nn.init.zeros_(block.branch.convolution2.weight)
    weights = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((chain(x) * weights).sum(), x)
    assert torch.equal(gradient, weights)
    # Where a ReLU follows the sum, it stops the gradient of what is negative.
    original = nn.Sequential(*[ResidualBlock(6, 6) for _ in range(10)]).double().eval()
    for block in original:
        nn.init.zeros_(block.branch.convolution2.weight)
    (gradient,) = torch.autograd.grad((original(x) * weights).sum(), x)
    assert not torch.equal(gradient, weights)


@pytest.mark.parametrize(
    ("build", "depth", "expected"), [(preact_resnet110, 110, 1_727_962), (preact_resnet164, 164, 1_703_258)]
)
def test_parameters_are_those_of_the_paper(build, depth: int, expected: int) -> None:
    with torch.device("meta"):
        model = build()
    n = sum(each.numel() for each in model.parameters())
    assert n == expected
    assert f"{n / 1e6:.1f}" == "1.7"
    projections = [each for name, each in model.named_modules() if "shortcut" in name and isinstance(each, nn.Conv2d)]
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(layers) - len(projections) == depth


@pytest.mark.parametrize("bottleneck", [False, True])
def test_it_computes_its_formula(bottleneck: bool) -> None:
    """The twin follows the paper's figures with torch's functions, in training mode."""
    torch.manual_seed(0)
    model = small(bottleneck=bottleneck).double()
    w = dict(model.named_parameters())
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)

    def active(h, name):
        return functional.batch_norm(h, None, None, w[f"{name}.weight"], w[f"{name}.bias"], training=True).relu()

    def convolved(h, name, stride=1):
        weight = w[f"{name}.weight"]
        return functional.conv2d(h, weight, stride=stride, padding=weight.shape[-1] // 2)

    h = convolved(x, "stem")
    for place, stride in (("stage1.block1", 1), ("stage2.block1", 2), ("stage2.block2", 1)):
        name = f"stages.{place}"
        a = active(h, f"{name}.preactivation.normalisation")
        f = convolved(a, f"{name}.branch.convolution1", stride)
        for i in range(2, 4 if bottleneck else 3):
            f = convolved(active(f, f"{name}.branch.normalisation{i}"), f"{name}.branch.convolution{i}")
        if f"{name}.shortcut.weight" in w:
            h = convolved(a, f"{name}.shortcut", stride)
        elif place == "stage2.block1":
            h = torch.cat([a[:, :, ::2, ::2], torch.zeros_like(a[:, :, ::2, ::2])], 1)
        elif place == "stage1.block1":
            h = a
        h = h + f
    h = active(h, "activation.normalisation").mean((2, 3))
    expected = h @ w["output.weight"].T + w["output.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


def test_overfit() -> None:
    torch.manual_seed(0)
    overfits(small(), torch.randn(16, 3, 8, 8), torch.arange(16) % 4, functional.cross_entropy, steps=100)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_it_behaves(bottleneck: bool) -> None:
    torch.manual_seed(0)
    behaves(small(bottleneck=bottleneck), small(bottleneck=bottleneck), torch.randn(3, 3, 8, 8))


def test_wrong_arguments_are_refused() -> None:
    for shape in ((2, 1, 8, 8), (3, 8, 8), (2, 3, 0, 8)):
        with pytest.raises(UsageError, match=r"PreActivationResNet\nGive \[batch, 3, height, width\]"):
            small()(torch.zeros(shape))
    with pytest.raises(UsageError, match="int64"):
        small()(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    with pytest.raises(UsageError, match="1 numbers of blocks and 2 numbers of channels"):
        small(blocks=(1,))
    for wrong in ({"blocks": (0, 1)}, {"channels": (8, 0)}, {"classes": 0}, {"in_channels": 0}):
        with pytest.raises(UsageError, match="is 0"):
            small(**wrong)
    with pytest.raises(UsageError, match="a bottleneck has 10 channels"):
        small(bottleneck=True, channels=(8, 10))
