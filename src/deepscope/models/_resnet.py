"""Residual networks, and the plain networks that they are compared with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._inputs import values
from deepscope.models._shortcut import (
    PaddedShortcut,
    branch_sizes,
    check_stages,
    convolution,
    initialise,
    large_image_stem,
)
from deepscope.models._sizes import check_images, positive


class ResidualBlock(nn.Module):
    """Residual block: y = relu(F(x) + S(x)), where F is two or three convolutions and S a shortcut.

    Maps [batch, in_channels, height, width] to [batch, out_channels, ⌈height / stride⌉, ⌈width / stride⌉]. F is two
    convolutions of 3×3; or, as a bottleneck, one of 1×1 to a quarter of the channels, one of 3×3 and one of 1×1 back.
    A batch normalisation follows each convolution, a ReLU each but the last; the first one has the stride. S is the
    identity where it can be. With c = out_channels = in_channels there are 18 c² + 4 c parameters, in a bottleneck
    17 c² / 16 + 3 c. Source: ``he2016deep``.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and the output.
    stride
        Of the first convolution.
    bottleneck
        Whether F is a bottleneck.
    projection
        What S is where stride or channels change: a convolution of 1×1 with batch normalisation (option B of the
        source), or padding with zeros (option A), which has no parameters.
    residual
        Whether there is a shortcut. Without one the block is plain: y = relu(F(x)).

    Raises
    ------
    UsageError
        A size below 1; channels of a bottleneck that do not divide by 4; fewer channels than before without a
        projection.

    Examples
    --------
    >>> import torch
    >>> block = ResidualBlock(16, 32, stride=2)
    >>> block(torch.zeros(5, 16, 8, 8)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([5, 32, 4, 4]), 13952)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        bottleneck: bool = False,
        projection: bool = False,
        residual: bool = True,
    ) -> None:
        super().__init__()
        kernels, widths = branch_sizes(in_channels, out_channels, bottleneck, self)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, kernel_size in enumerate(kernels, start=1):
            fan_in, fan_out = widths[index - 1], widths[index]
            layers[f"convolution{index}"] = convolution(fan_in, fan_out, kernel_size, stride if index == 1 else 1)
            layers[f"normalisation{index}"] = nn.BatchNorm2d(fan_out)
            if index < len(kernels):
                layers[f"activation{index}"] = nn.ReLU()
        self.branch = nn.Sequential(layers)
        self.shortcut = _shortcut(in_channels, out_channels, stride, projection) if residual else None
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + S(x))."""
        y: Tensor = self.branch(x)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        output: Tensor = self.activation(y)
        return output


def _shortcut(in_channels: int, out_channels: int, stride: int, projection: bool) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if not projection:
        return PaddedShortcut(in_channels, out_channels, stride=stride)
    layers = OrderedDict(
        convolution=convolution(in_channels, out_channels, 1, stride), normalisation=nn.BatchNorm2d(out_channels)
    )
    return nn.Sequential(layers)


class ResNet(nn.Module):
    """Residual network: stages of residual blocks, the mean over all pixels, one linear layer.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size. The first block of
    each stage but the first halves height and width. For small images (CIFAR) the stem is a convolution of 3×3; with
    n blocks in each of three stages of 16, 32 and 64 channels there are 6 n + 2 layers with weights, and with padded
    shortcuts 97,216 n − 21,926 parameters:

    =========  =====  ==========  ==========  ==================
    network    n      parameters  the paper   multiplications
    =========  =====  ==========  ==========  ==================
    resnet20   3      269,722     0.27 M      0.041·10⁹
    resnet32   5      464,154     0.46 M      0.069·10⁹
    resnet44   7      658,586     0.66 M      0.097·10⁹
    resnet56   9      853,018     0.85 M      0.125·10⁹
    resnet110  18     1,727,962   1.7 M       0.253·10⁹
    =========  =====  ==========  ==========  ==================

    For large images (ImageNet) the stem is a convolution of 7×7 with stride 2 and a max pooling; there are four stages:

    =========  ========  ==========  ==========  ==================
    network    blocks    bottleneck  parameters  multiplications
    =========  ========  ==========  ==========  ==================
    resnet18   2 2 2 2   no          11,689,512  1.8·10⁹
    resnet34   3 4 6 3   no          21,797,672  3.7·10⁹
    resnet50   3 4 6 3   yes         25,557,032  3.9·10⁹
    =========  ========  ==========  ==========  ==================

    Weights of convolutions are drawn as He et al. do, N(0, 2 / fan_out); the linear layer's as torch does.
    Source: ``he2016deep``; weights: ``he2015delving``.

    Parameters
    ----------
    blocks, channels
        Number of blocks in each stage, and of their output channels.
    bottleneck, projection, residual
        As in ``ResidualBlock``.
    large_images
        Whether the stem is the one for large images.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1; unequal numbers of stages; what ``ResidualBlock`` refuses; when called: an input that is not
        [batch, in_channels, height, width] of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> model = ResNet([1, 1], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 5106)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        channels: Sequence[int] = (16, 32, 64),
        *,
        bottleneck: bool = False,
        projection: bool = False,
        residual: bool = True,
        large_images: bool = False,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels = positive(in_channels, "in_channels", self)
        fan_in = channels[0] // 4 if bottleneck else channels[0]
        if large_images:
            self.stem = large_image_stem(in_channels, fan_in)
        else:
            self.stem = nn.Sequential(
                OrderedDict(
                    convolution=convolution(in_channels, fan_in, 3),
                    normalisation=nn.BatchNorm2d(fan_in),
                    activation=nn.ReLU(),
                )
            )
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            stages[f"stage{index}"] = nn.Sequential(
                OrderedDict(
                    (
                        f"block{block}",
                        ResidualBlock(
                            fan_in if block == 1 else width,
                            width,
                            stride=2 if block == 1 and index > 1 else 1,
                            bottleneck=bottleneck,
                            projection=projection,
                            residual=residual,
                        ),
                    )
                    for block in range(1, n + 1)
                )
            )
            fan_in = width
        self.stages = nn.Sequential(stages)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(fan_in, positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self)
        logits: Tensor = self.output(self.flatten(self.pooling(self.stages(self.stem(x)))))
        return logits


def _for_cifar(n: int, *, residual: bool = True) -> ResNet:
    return ResNet([n] * 3, (16, 32, 64), residual=residual)


def resnet20() -> ResNet:
    """Return the residual network of 20 layers for CIFAR-10; 269,722 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    return _for_cifar(3)


def resnet32() -> ResNet:
    """Return the residual network of 32 layers for CIFAR-10; 464,154 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet32().parameters())
    464154
    """
    return _for_cifar(5)


def resnet44() -> ResNet:
    """Return the residual network of 44 layers for CIFAR-10; 658,586 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet44().parameters())
    658586
    """
    return _for_cifar(7)


def resnet56() -> ResNet:
    """Return the residual network of 56 layers for CIFAR-10; 853,018 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet56().parameters())
    853018
    """
    return _for_cifar(9)


def resnet110() -> ResNet:
    """Return the residual network of 110 layers for CIFAR-10; 1,727,962 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in resnet110().parameters())
    1727962
    """
    return _for_cifar(18)


def plain20() -> ResNet:
    """Return ``resnet20`` without its shortcuts; 269,722 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in plain20().parameters())
    269722
    """
    return _for_cifar(3, residual=False)


def plain56() -> ResNet:
    """Return ``resnet56`` without its shortcuts; 853,018 parameters. Source: ``he2016deep``.

    Examples
    --------
    >>> sum(p.numel() for p in plain56().parameters())
    853018
    """
    return _for_cifar(9, residual=False)


def resnet18() -> ResNet:
    """Return the residual network of 18 layers for ImageNet; 11,689,512 parameters.

    Where channels change the shortcuts are projections (option B), as in the networks of this name that are in use.
    The paper compares 18 layers with 34 by padded ones. Source: ``he2016deep``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in resnet18().parameters()))
    11689512
    """
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), projection=True, large_images=True, classes=1000)


def resnet34() -> ResNet:
    """Return the residual network of 34 layers for ImageNet; 21,797,672 parameters.

    Its shortcuts are as in ``resnet18``: the paper's ResNet-34 B. Source: ``he2016deep``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in resnet34().parameters()))
    21797672
    """
    return ResNet((3, 4, 6, 3), (64, 128, 256, 512), projection=True, large_images=True, classes=1000)


def resnet50() -> ResNet:
    """Return the residual network of 50 layers for ImageNet, of bottlenecks; 25,557,032 parameters.

    The first convolution of a bottleneck has the stride, as in the paper; others of this name have it in the second.
    Source: ``he2016deep``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in resnet50().parameters()))
    25557032
    """
    return ResNet(
        (3, 4, 6, 3), (256, 512, 1024, 2048), bottleneck=True, projection=True, large_images=True, classes=1000
    )


SPECIMENS = (
    Specimen(
        name="resnet20",
        title="residual network of 20 layers for small images",
        build=resnet20,
        inputs=values(3, 32, 32),
        parameters=269_722,
        formula="y = relu(F(x) + S(x)) in three stages of 3 blocks with 16, 32 and 64 channels; 269,722 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet32",
        title="residual network of 32 layers for small images",
        build=resnet32,
        inputs=values(3, 32, 32),
        parameters=464_154,
        formula="y = relu(F(x) + S(x)) in three stages of 5 blocks with 16, 32 and 64 channels; 464,154 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet44",
        title="residual network of 44 layers for small images",
        build=resnet44,
        inputs=values(3, 32, 32),
        parameters=658_586,
        formula="y = relu(F(x) + S(x)) in three stages of 7 blocks with 16, 32 and 64 channels; 658,586 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet56",
        title="residual network of 56 layers for small images",
        build=resnet56,
        inputs=values(3, 32, 32),
        parameters=853_018,
        formula="y = relu(F(x) + S(x)) in three stages of 9 blocks with 16, 32 and 64 channels; 853,018 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet110",
        title="residual network of 110 layers for small images",
        build=resnet110,
        inputs=values(3, 32, 32),
        parameters=1_727_962,
        formula="y = relu(F(x) + S(x)) in three stages of 18 blocks with 16, 32 and 64 channels; 1,727,962 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="plain20",
        title="resnet20 without its shortcuts",
        build=plain20,
        inputs=values(3, 32, 32),
        parameters=269_722,
        formula="y = relu(F(x)) in three stages of 3 blocks with 16, 32 and 64 channels; 269,722 parameters.",
        source="he2016deep",
        pinned_by="tests/models/test_resnet.py::test_a_block_adds_what_its_branch_computes_to_its_input",
    ),
    Specimen(
        name="plain56",
        title="resnet56 without its shortcuts",
        build=plain56,
        inputs=values(3, 32, 32),
        parameters=853_018,
        formula="y = relu(F(x)) in three stages of 9 blocks with 16, 32 and 64 channels; 853,018 parameters.",
        source="he2016deep",
        pinned_by="tests/models/test_resnet.py::test_a_block_adds_what_its_branch_computes_to_its_input",
    ),
    Specimen(
        name="resnet18",
        title="residual network of 18 layers for large images",
        build=resnet18,
        inputs=values(3, 224, 224),
        parameters=11_689_512,
        formula="y = relu(F(x) + S(x)) in four stages of 2, 2, 2 and 2 blocks; 11,689,512 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet34",
        title="residual network of 34 layers for large images",
        build=resnet34,
        inputs=values(3, 224, 224),
        parameters=21_797_672,
        formula="y = relu(F(x) + S(x)) in four stages of 3, 4, 6 and 3 blocks; 21,797,672 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
    Specimen(
        name="resnet50",
        title="residual network of 50 layers for large images",
        build=resnet50,
        inputs=values(3, 224, 224),
        parameters=25_557_032,
        formula="y = relu(F(x) + S(x)) in four stages of 3, 4, 6 and 3 bottlenecks; 25,557,032 parameters.",
        source="he2016deep",
        rows=("repo-deep-residual",),
        pinned_by="tests/models/test_resnet.py::test_parameters_and_multiplications_are_those_of_the_paper",
    ),
)
