"""Reversible residual networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._residual_branch import residual_branch
from deepscope.models._reversible import ReversibleStack
from deepscope.models._shortcut import PaddedShortcut, check_stages, convolution, initialise
from deepscope.models._sizes import check_images, even, positive


class RevNet(nn.Module):
    """Reversible residual network: stages of blocks y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁) on the halves of the channels.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size. F and G are
    normalisation, ReLU, convolution of 3×3, twice. The stem is a convolution of 3×3. The first block of each stage but
    the first halves height and width and is not reversible: its shortcut is mean pooling and channels of zeros. The
    end is normalisation, ReLU, the mean over all pixels and a linear layer. All other blocks of a stage keep nothing
    for the backward pass, as ``ReversibleStack`` says, so that memory grows with the number of stages, not with that
    of blocks. A block of c channels has 9 c² + 4 c parameters, half as many as a residual block. Convolutions are drawn
    as He et al. do, N(0, 2 / fan_out). Source: ``gomez2017reversible``.

    Parameters
    ----------
    blocks, channels
        Number of blocks in each stage, and of their channels, which are even in number and do not become fewer.
    in_channels, classes
        Channels of the images; number of logits.
    recompute
        Whether inputs of blocks are computed back in the backward pass, or kept.

    Raises
    ------
    UsageError
        A size below 1, odd channels, fewer than before, unequal numbers of stages; when called: an input that is not
        [batch, in_channels, height, width] of floating-point numbers.

    Examples
    --------
    >>> model = RevNet([2, 2], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 6074)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        channels: Sequence[int] = (32, 64, 112),
        *,
        in_channels: int = 3,
        classes: int = 10,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels = positive(in_channels, "in_channels", self)
        self.stem = convolution(in_channels, even(channels[0], "a number of channels", self), 3)
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        fan_in = channels[0]
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if index > 1:
                layers["reduction"] = _Reduction(fan_in, even(width, "a number of channels", self))
                n -= 1
            if n:
                branches = (residual_branch(width // 2, width // 2) for _ in range(2 * n))
                layers["reversible"] = ReversibleStack(branches, recompute=recompute)
            stages[f"stage{index}"] = nn.Sequential(layers)
            fan_in = width
        self.stages = nn.Sequential(stages)
        self.normalisation = nn.BatchNorm2d(fan_in)
        self.activation = nn.ReLU()
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(fan_in, positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self)
        features = self.activation(self.normalisation(self.stages(self.stem(x))))
        return cast(Tensor, self.output(self.flatten(self.pooling(features))))


class _Reduction(nn.Module):
    """A block that halves height and width: y₁ = S(x₁) + F(x₂), y₂ = S(x₂) + G(y₁)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(
            OrderedDict(
                # Where the side is odd, the last pixel is pooled alone.
                pooling=nn.AvgPool2d(2, ceil_mode=True),
                padding=PaddedShortcut(in_channels // 2, out_channels // 2),
            )
        )
        self.branch1 = residual_branch(in_channels // 2, out_channels // 2, stride=2)
        self.branch2 = residual_branch(out_channels // 2, out_channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, 1)
        y1 = self.shortcut(x1) + self.branch1(x2)
        return torch.cat([y1, self.shortcut(x2) + self.branch2(y1)], 1)


def revnet38() -> RevNet:
    """Return the reversible network of 38 layers for CIFAR-10; 464,858 parameters, 0.46 M in the paper.

    Source: ``gomez2017reversible``.

    Examples
    --------
    >>> sum(p.numel() for p in revnet38().parameters())
    464858
    """
    return RevNet()


SPECIMENS = (
    Specimen(
        name="revnet38",
        title="reversible residual network",
        build=revnet38,
        inputs=values(3, 32, 32),
        parameters=464_858,
        formula="y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁) on the halves of the channels, from which x₂ = y₂ − G(y₁) and then "
        "x₁ = y₁ − F(x₂) are computed back: the backward pass needs the output alone, whatever the number of blocks.",
        source="gomez2017reversible",
        pinned_by="tests/models/test_reversible.py::test_memory_does_not_grow_with_depth",
    ),
)
