"""U-Net of diffusion models: an image and its time to the noise in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models._noise_predictor import TimeEmbedding
from deepscope.models._noise_schedule import check_times
from deepscope.models._sizes import check_images, divided, positive, probability

_Map = TypeVar("_Map", nn.Conv2d, nn.Linear)


class TimedResidualBlock(nn.Module):
    """Residual block that is told the time: x + conv(φ(GN(conv(φ(GN(x))) + linear(φ(time))))), φ(z) = z σ(z).

    Maps [batch, in_channels, height, width] and the time's vector, [batch, t], to [batch, out_channels, height, width];
    both convolutions are 3 × 3, and x is mapped by one of 1 × 1 where the channels differ. The second begins at 0.
    Parameters with c and c′ channels: 9cc′ + 9c′² + c′t + 2c + 5c′, and cc′ + c′ where they differ.
    Source: ``ho2020denoising``.
    """

    def __init__(self, in_channels: int, out_channels: int, time: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.normalisation1 = nn.GroupNorm(groups, in_channels)
        self.activation1 = nn.SiLU()
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Sequential(OrderedDict(activation=nn.SiLU(), linear=nn.Linear(time, out_channels)))
        self.normalisation2 = nn.GroupNorm(groups, out_channels)
        self.activation2 = nn.SiLU()
        self.dropout = nn.Dropout(dropout)
        self.convolution2 = _zero(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the block's output."""
        h = self.convolution1(self.activation1(self.normalisation1(x))) + self.time(time)[:, :, None, None]
        h = self.convolution2(self.dropout(self.activation2(self.normalisation2(h))))
        return cast(Tensor, self.shortcut(x) + h)


class PixelAttention(nn.Module):
    """Self-attention of one head between all pixels of an image, added to it.

    Maps [batch, channels, height, width] to the same. Queries, keys, values and the output are linear maps of the
    normalised pixels; the last begins at 0. It has 4c² + 6c parameters. Source: ``ho2020denoising``.
    """

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.normalisation = nn.GroupNorm(groups, channels)
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        self.output = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x and what its pixels attend to."""
        pixels = self.normalisation(x).flatten(2).mT
        attended = functional.scaled_dot_product_attention(self.query(pixels), self.key(pixels), self.value(pixels))
        return x + cast(Tensor, self.output(attended)).mT.reshape(x.shape)


class UNet(nn.Module):
    """U-Net of residual blocks that are told the time, with attention between pixels at some resolutions.

    Maps images, [batch, in_channels, height, width], and whole times, [batch], to [batch, in_channels, height, width].
    On the way down each level has ``blocks`` residual blocks and, but for the last, a convolution of stride 2; in the
    middle are a block, attention and a block; on the way up each level has a block more, each of which is given, beside
    its input, the state that the way down left, and the image is doubled between levels. The last convolution begins at
    0, so that it predicts no noise at first. Weights begin as torch's, where the authors draw them uniformly with
    variance 2/(fan-in + fan-out). Source: ``ho2020denoising``, whose reference size this is.

    Parameters
    ----------
    in_channels
        Of the images.
    width
        Channels of the first level.
    multipliers
        Channels of each level, in widths.
    blocks
        Residual blocks of a level.
    attention
        Levels, from 0, where attention follows each block.
    groups
        Of the group normalisations; they divide the width.
    dropout
        Rate at which numbers are set to 0 in training.

    Raises
    ------
    UsageError
        A size that does not fit; when called: images whose sides the levels do not divide, or of another size; times
        that are not [batch] whole numbers.

    Examples
    --------
    >>> model = UNet(1, 8, (1, 2), blocks=1, groups=4)
    >>> model(torch.zeros(2, 1, 8, 8), torch.tensor([1, 9])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        *,
        blocks: int = 2,
        attention: Sequence[int] = (1,),
        groups: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels", self)
        divided(width, "width", groups, "groups", self)
        positive(blocks, "blocks", self)
        probability(dropout, "dropout", self)
        channels = [width * positive(each, "multipliers", self) for each in multipliers]
        if not channels or not set(attention) <= set(range(len(channels))):
            raise UsageError(
                f"attention is {list(attention)}, and multipliers {list(multipliers)}",
                where="UNet",
                todo="Give at least one multiplier, and attention at levels that there are, from 0.",
            )
        time = 4 * width

        def block(before: int, after: int) -> nn.Module:
            return TimedResidualBlock(before, after, time, groups=groups, dropout=dropout)

        def attend(level: int, size: int) -> nn.Module:
            return PixelAttention(size, groups=groups) if level in attention else nn.Identity()

        self.multiple = 2 ** (len(channels) - 1)
        self.time = nn.Sequential(
            OrderedDict(
                embedding=TimeEmbedding(width),
                linear1=nn.Linear(width, time),
                activation=nn.SiLU(),
                linear2=nn.Linear(time, time),
            )
        )
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        size, left = width, [width]
        for level, after in enumerate(channels):
            for _ in range(blocks):
                self.down.append(nn.ModuleList([block(size, after), attend(level, after)]))
                size = after
                left.append(size)
            if level < len(channels) - 1:
                self.down.append(Downsampling(size))
                left.append(size)
        self.middle = nn.ModuleList([block(size, size), PixelAttention(size, groups=groups), block(size, size)])
        for level, after in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(nn.ModuleList([block(size + left.pop(), after), attend(level, after)]))
                size = after
            if level:
                self.up.append(Upsampling(size))
        self.normalisation = nn.GroupNorm(groups, size)
        self.activation = nn.SiLU()
        self.output = _zero(nn.Conv2d(size, in_channels, 3, padding=1))

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """Return the noise that it expects in x."""
        check_images(x, self.in_channels, self, smallest=self.multiple, multiple=self.multiple)
        check_times(times, len(x), type(self).__name__)
        time = self.time(times)
        x = self.stem(x)
        left = [x]
        for stage in self.down:
            x = _run(stage, x, time)
            left.append(x)
        first, attention, second = self.middle
        x = second(attention(first(x, time)), time)
        for stage in self.up:
            x = stage(x) if isinstance(stage, Upsampling) else _run(stage, torch.cat([x, left.pop()], 1), time)
        return cast(Tensor, self.output(self.activation(self.normalisation(x))))


class Downsampling(nn.Conv2d):
    """Convolution of 3 × 3 and stride 2: [batch, channels, height, width] to half of the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsampling(nn.Sequential):
    """Each pixel as four, then a convolution of 3 × 3: [batch, channels, height, width] to twice height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            OrderedDict(doubling=nn.Upsample(scale_factor=2), convolution=nn.Conv2d(channels, channels, 3, padding=1))
        )


def _run(stage: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    """Return a stage's output: of a halving, or of a block that is told the time and the attention after it."""
    if isinstance(stage, Downsampling):
        return cast(Tensor, stage(x))
    block, attention = cast(nn.ModuleList, stage)
    return cast(Tensor, attention(block(x, time)))


def _zero(layer: _Map) -> _Map:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
