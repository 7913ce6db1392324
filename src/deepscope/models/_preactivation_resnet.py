"""Residual networks with pre-activation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._shortcut import PaddedShortcut, branch_sizes, check_stages, convolution, initialise
from deepscope.models._sizes import check_images, positive


class PreActivationBlock(nn.Module):
    """Residual block with pre-activation: y = x + F(x), where normalisation and ReLU come before each convolution.

    Maps [batch, in_channels, height, width] to [batch, out_channels, ⌈height / stride⌉, ⌈width / stride⌉]. Nothing
    follows the sum, so that a chain of L blocks computes x + Σ_l F_l(x_l) and its gradient holds the identity.
    F is two convolutions of 3×3, or a bottleneck of 1×1, 3×3 and 1×1, as in ``ResidualBlock``. Where channels or size
    change, and where the activation is shared, the shortcut starts after the first normalisation and ReLU:
    y = S(a) + F′(a) with a = relu(norm(x)). Source: ``he2016identity``.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and the output.
    stride
        Of the first convolution.
    bottleneck
        Whether F is a bottleneck.
    projection
        What the shortcut is where stride or channels change: a convolution of 1×1, or padding with zeros.
    shared_activation
        Whether the shortcut starts after the first normalisation and ReLU also where nothing changes.

    Raises
    ------
    UsageError
        A size below 1; channels of a bottleneck that do not divide by 4; fewer channels than before without a
        projection.

    Examples
    --------
    >>> import torch
    >>> block = PreActivationBlock(16, 16)
    >>> block(torch.zeros(5, 16, 8, 8)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([5, 16, 8, 8]), 4672)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        bottleneck: bool = False,
        projection: bool = False,
        shared_activation: bool = False,
    ) -> None:
        super().__init__()
        kernels, widths = branch_sizes(in_channels, out_channels, bottleneck, self)
        self.preactivation = _normalised(in_channels)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, kernel_size in enumerate(kernels, start=1):
            fan_in, fan_out = widths[index - 1], widths[index]
            if index > 1:
                layers[f"normalisation{index}"] = nn.BatchNorm2d(fan_in)
                layers[f"activation{index}"] = nn.ReLU()
            layers[f"convolution{index}"] = convolution(fan_in, fan_out, kernel_size, stride if index == 1 else 1)
        self.branch = nn.Sequential(layers)
        changes = stride > 1 or in_channels != out_channels
        self.shared_activation = shared_activation or changes
        self.shortcut: nn.Module = nn.Identity()
        if changes and projection:
            self.shortcut = convolution(in_channels, out_channels, 1, stride)
        elif changes:
            self.shortcut = PaddedShortcut(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + F(x)."""
        active = self.preactivation(x)
        output: Tensor = self.branch(active) + self.shortcut(active if self.shared_activation else x)
        return output


def _normalised(channels: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(normalisation=nn.BatchNorm2d(channels), activation=nn.ReLU()))


class PreActivationResNet(nn.Module):
    """Residual network with pre-activation for small images: a convolution, stages of blocks, a mean, a linear layer.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size. The first block of
    each stage but the first halves height and width. Of the first block of all the activation is shared, and the last
    is followed by a normalisation and ReLU. The shortcuts around blocks of two convolutions are padded where channels
    change, and around bottlenecks projections:

    ================  ========  ==========  ==========  =========  ==================
    network           blocks    bottleneck  parameters  the paper  multiplications
    ================  ========  ==========  ==========  =========  ==================
    preact_resnet110  18 18 18  no          1,727,962   1.7 M      0.253·10⁹
    preact_resnet164  18 18 18  yes         1,703,258   1.7 M      0.245·10⁹
    ================  ========  ==========  ==========  =========  ==================

    Weights of convolutions are drawn as He et al. do, N(0, 2 / fan_out); the linear layer's as torch does.
    Source: ``he2016identity``; weights: ``he2015delving``.

    Parameters
    ----------
    blocks, channels
        Number of blocks in each stage, and of their output channels.
    bottleneck
        Whether blocks are bottlenecks; then shortcuts are projections where channels change.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1; unequal numbers of stages; what ``PreActivationBlock`` refuses; when called: an input that is
        not [batch, in_channels, height, width] of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> model = PreActivationResNet([1, 1], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 5106)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (18, 18, 18),
        channels: Sequence[int] = (16, 32, 64),
        *,
        bottleneck: bool = False,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels = positive(in_channels, "in_channels", self)
        fan_in = channels[0] // 4 if bottleneck else channels[0]
        self.stem = convolution(in_channels, fan_in, 3)
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            stages[f"stage{index}"] = nn.Sequential(
                OrderedDict(
                    (
                        f"block{block}",
                        PreActivationBlock(
                            fan_in if block == 1 else width,
                            width,
                            stride=2 if block == 1 and index > 1 else 1,
                            bottleneck=bottleneck,
                            projection=bottleneck,
                            shared_activation=block == index == 1,
                        ),
                    )
                    for block in range(1, n + 1)
                )
            )
            fan_in = width
        self.stages = nn.Sequential(stages)
        self.activation = _normalised(fan_in)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(fan_in, positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self)
        features = self.activation(self.stages(self.stem(x)))
        logits: Tensor = self.output(self.flatten(self.pooling(features)))
        return logits


def preact_resnet110() -> PreActivationResNet:
    """Return the network of 110 layers for CIFAR-10; 1,727,962 parameters. Source: ``he2016identity``.

    Examples
    --------
    >>> sum(p.numel() for p in preact_resnet110().parameters())
    1727962
    """
    return PreActivationResNet()


def preact_resnet164() -> PreActivationResNet:
    """Return the network of 164 layers for CIFAR-10, of bottlenecks; 1,703,258 parameters. Source: ``he2016identity``.

    Examples
    --------
    >>> sum(p.numel() for p in preact_resnet164().parameters())
    1703258
    """
    return PreActivationResNet([18] * 3, (64, 128, 256), bottleneck=True)


SPECIMENS = (
    Specimen(
        name="preact-resnet110",
        title="residual network with pre-activation, 110 layers",
        build=preact_resnet110,
        inputs=values(3, 32, 32),
        parameters=1_727_962,
        formula=(
            "y = x + F(x), F of two 3×3 convolutions with normalisation and ReLU before each, in three stages of 18 "
            "blocks with 16, 32 and 64 channels; 1,727,962 parameters."
        ),
        source="he2016identity",
        pinned_by="tests/models/test_preactivation_resnet.py::test_a_chain_of_blocks_is_a_sum_and_its_gradient_holds_the_identity",
    ),
    Specimen(
        name="preact-resnet164",
        title="residual network with pre-activation, 164 layers",
        build=preact_resnet164,
        inputs=values(3, 32, 32),
        parameters=1_703_258,
        formula=(
            "y = x + F(x), F of 1×1, 3×3 and 1×1 convolutions with normalisation and ReLU before each, in three stages "
            "of 18 blocks with 64, 128 and 256 channels; 1,703,258 parameters."
        ),
        source="he2016identity",
        pinned_by="tests/models/test_preactivation_resnet.py::test_a_chain_of_blocks_is_a_sum_and_its_gradient_holds_the_identity",
    ),
)
