"""Shortcuts around the blocks of residual networks, and what their networks have in common."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models._sizes import positive


class PaddedShortcut(nn.Module):
    """Shortcut without parameters to a block of more channels: every stride-th pixel, and channels of zeros.

    Maps [batch, in_channels, height, width] to [batch, out_channels, ⌈height / stride⌉, ⌈width / stride⌉]; the added
    channels come last. It is option A of the source: ``he2016deep``.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and the output, at least as many.
    stride
        Of the block that it passes by.

    Raises
    ------
    UsageError
        A size below 1, or fewer channels than before.

    Examples
    --------
    >>> import torch
    >>> PaddedShortcut(16, 32, stride=2)(torch.zeros(5, 16, 8, 8)).shape
    torch.Size([5, 32, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = positive(stride, "stride", self)
        self.added = out_channels - positive(in_channels, "in_channels", self)
        if self.added < 0:
            raise UsageError(
                f"channels go from {in_channels} to {out_channels}",
                where="PaddedShortcut",
                todo="Give at least as many channels as before, or choose a projection.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the input on a coarser grid with more channels."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


def check_stages(blocks: Sequence[int], channels: Sequence[int], owner: object) -> None:
    """Refuse stages that are none, unequal in number, or empty.

    Raises
    ------
    UsageError
        They are.
    """
    if len(blocks) != len(channels) or not blocks:
        raise UsageError(
            f"there are {len(blocks)} numbers of blocks and {len(channels)} numbers of channels",
            where=type(owner).__name__,
            todo="Give one number of blocks and one of channels per stage.",
        )
    for each in blocks:
        positive(each, "a number of blocks", owner)
    for each in channels:
        positive(each, "a number of channels", owner)


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps height and width but for the stride; the normalisation after it has the bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


def branch_sizes(
    in_channels: int, out_channels: int, bottleneck: bool, owner: object
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the kernels of a block's convolutions, and the channels before, between and after them.

    Raises
    ------
    UsageError
        Channels of a bottleneck that do not divide by 4.
    """
    if not bottleneck:
        return (3, 3), (in_channels, out_channels, out_channels)
    if out_channels % 4:
        what = f"a bottleneck has {out_channels} channels"
        raise UsageError(what, where=type(owner).__name__, todo="Give a multiple of 4.")
    return (1, 3, 1), (in_channels, out_channels // 4, out_channels // 4, out_channels)


def large_image_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return the layers that bring images of 224 pixels to 56: 7×7 with stride 2, then max pooling over 3×3."""
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            normalisation=nn.BatchNorm2d(channels),
            activation=nn.ReLU(),
            pooling=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )


def initialise(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. do: N(0, 2 / (kernel's area · out_channels))."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
