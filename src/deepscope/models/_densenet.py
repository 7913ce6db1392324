"""DenseNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import floor

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._shortcut import convolution, initialise, large_image_stem
from deepscope.models._sizes import check_images, positive, probability


class DenseBlock(nn.Module):
    """Dense block: each layer sees the features of all layers before it, x_l = H_l([x_0, x_1, …, x_{l−1}]).

    Maps [batch, in_channels, height, width] to [batch, in_channels + num_layers · growth, height, width], all of the
    features one after another. H is normalisation, ReLU and a convolution of 3×3 to ``growth`` channels; with a
    bottleneck a normalisation, ReLU and convolution of 1×1 to 4 growth channels come first. L layers have
    L (L + 1) / 2 connections. Source: ``huang2017densely``.

    Kept for the backward pass, the inputs of all layers are of order L² growth channels. With ``recompute`` only the
    features themselves are kept, of order L growth, and each layer is computed a second time in the backward pass: the
    same gradients for a third more work. Source: ``pleiss2017memory``.

    Parameters
    ----------
    num_layers
        Number of layers.
    in_channels
        Channels of the input.
    growth
        Channels that each layer adds.
    bottleneck
        Whether layers have a bottleneck.
    dropout
        Probability that a feature is dropped in training.
    recompute
        Whether layers are computed again in the backward pass.

    Raises
    ------
    UsageError
        A size below 1, or a probability outside of [0, 1).

    Examples
    --------
    >>> import torch
    >>> block = DenseBlock(3, 16, growth=12)
    >>> block(torch.zeros(5, 16, 8, 8)).shape, sum(p.numel() for p in block.parameters())
    (torch.Size([5, 52, 8, 8]), 9240)
    """

    def __init__(
        self,
        num_layers: int,
        in_channels: int,
        *,
        growth: int,
        bottleneck: bool = False,
        dropout: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        positive(in_channels, "in_channels", self)
        positive(growth, "growth", self)
        probability(dropout, "dropout", self)
        for index in range(positive(num_layers, "num_layers", self)):
            layer = _dense_layer(in_channels + index * growth, growth, bottleneck, dropout)
            self.add_module(f"layer{index + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input's and all layers' features, [batch, in_channels + num_layers · growth, height, width]."""
        features = [x]
        for layer in self.children():
            if self.recompute and torch.is_grad_enabled():
                features.append(_recomputed(layer, features))
            else:
                features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


def _dense_layer(in_channels: int, growth: int, bottleneck: bool, dropout: float) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    kernels = (1, 3) if bottleneck else (3,)
    for index, kernel_size in enumerate(kernels, start=1):
        fan_out = growth if kernel_size == 3 else 4 * growth
        layers[f"normalisation{index}"] = nn.BatchNorm2d(in_channels)
        layers[f"activation{index}"] = nn.ReLU()
        layers[f"convolution{index}"] = convolution(in_channels, fan_out, kernel_size)
        if dropout:
            layers[f"dropout{index}"] = nn.Dropout(dropout)
        in_channels = fan_out
    return nn.Sequential(layers)


def _recomputed(layer: nn.Module, features: Sequence[Tensor]) -> Tensor:
    def compute(*inputs: Tensor) -> Tensor:
        output: Tensor = layer(torch.cat(inputs, 1))
        return output

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsLeftAlone(layer)

    output: Tensor = checkpoint(compute, *features, use_reentrant=False, context_fn=contexts)
    return output


class _StatisticsLeftAlone(AbstractContextManager[None]):
    """Lends a layer copies of its buffers, so that a batch does not count twice in running means.

    It is entered once per backward pass, of which there may be several, one inside another: what one pass saved of the
    buffers another must not change.
    """

    def __init__(self, layer: nn.Module) -> None:
        self._own = [
            (module, name, buffer) for module in layer.modules() for name, buffer in module.named_buffers(recurse=False)
        ]

    def __enter__(self) -> None:
        for module, name, buffer in self._own:
            setattr(module, name, buffer.clone())

    def __exit__(self, *exception: object) -> None:
        for module, name, buffer in self._own:
            setattr(module, name, buffer)


class DenseNet(nn.Module):
    """DenseNet: dense blocks with a transition between them, the mean over all pixels, one linear layer.

    Maps [batch, in_channels, height, width] to logits [batch, classes]. A transition is normalisation, ReLU, a
    convolution of 1×1 to ⌊compression · channels⌋ channels and the mean over 2×2 pixels. For small images (CIFAR) the
    stem is a convolution of 3×3, for large ones (ImageNet) one of 7×7 with stride 2 and a max pooling:

    ================  ============  ======  ==========  ===========  ==========  =========  ===============
    network           blocks        growth  bottleneck  compression  parameters  the paper  multiplications
    ================  ============  ======  ==========  ===========  ==========  =========  ===============
    densenet40_12     12 12 12      12      no          1            1,019,722   1.0 M      0.26·10⁹
    densenet100_12    32 32 32      12      no          1            6,979,642   7.0 M      1.8·10⁹
    densenet_bc100_12 16 16 16      12      yes         ½            769,162     0.8 M      0.29·10⁹
    densenet_bc190_40 31 31 31      40      yes         ½            25,624,430  25.6 M     9.3·10⁹
    densenet121       6 12 24 16    32      yes         ½            7,978,856   8 M        2.8·10⁹
    ================  ============  ======  ==========  ===========  ==========  =========  ===============

    Weights of convolutions are drawn as He et al. do, N(0, 2 / fan_out); the linear layer's as torch does.
    Source: ``huang2017densely``; weights: ``he2015delving``.

    Parameters
    ----------
    blocks
        Number of layers of each dense block.
    growth, bottleneck, dropout, recompute
        As in ``DenseBlock``.
    compression
        Share of the channels that a transition keeps, in (0, 1].
    first_channels
        Channels after the stem.
    large_images
        Whether the stem is the one for large images.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1; no blocks; a compression outside of (0, 1]; a probability outside of [0, 1); when called: an
        input that is not [batch, in_channels, height, width] of floating-point numbers, or too small to be halved by
        each transition.

    Examples
    --------
    >>> import torch
    >>> model = DenseNet([2, 2], growth=4, first_channels=8)
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 2930)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (12, 12, 12),
        *,
        growth: int = 12,
        bottleneck: bool = False,
        compression: float = 1.0,
        first_channels: int = 16,
        dropout: float = 0.0,
        recompute: bool = False,
        large_images: bool = False,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        if not blocks:
            raise UsageError("there are no blocks", where="DenseNet", todo="Give the number of layers of each.")
        if not 0 < compression <= 1:
            what = f"compression is {compression!r}"
            raise UsageError(what, where="DenseNet", todo="Give a share above 0, at most 1.")
        self.in_channels = positive(in_channels, "in_channels", self)
        channels = positive(first_channels, "first_channels", self)
        self._smallest = 2 ** (len(blocks) - 1) * (4 if large_images else 1)
        self.stem: nn.Module = convolution(in_channels, channels, 3)
        if large_images:
            self.stem = large_image_stem(in_channels, channels)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index, n in enumerate(blocks, start=1):
            layers[f"block{index}"] = DenseBlock(
                n, channels, growth=growth, bottleneck=bottleneck, dropout=dropout, recompute=recompute
            )
            channels += n * growth
            if index < len(blocks):
                kept = positive(floor(compression * channels), "channels after compression", self)
                layers[f"transition{index}"] = _transition(channels, kept, dropout)
                channels = kept
        layers["normalisation"] = nn.BatchNorm2d(channels)
        layers["activation"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels, positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self, smallest=self._smallest)
        logits: Tensor = self.output(self.flatten(self.pooling(self.features(self.stem(x)))))
        return logits


def _transition(in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        normalisation=nn.BatchNorm2d(in_channels),
        activation=nn.ReLU(),
        convolution=convolution(in_channels, out_channels, 1),
    )
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["pooling"] = nn.AvgPool2d(2)
    return nn.Sequential(layers)


def densenet40_12() -> DenseNet:
    """Return DenseNet with 40 layers and growth 12 for CIFAR-10; 1,019,722 parameters. Source: ``huang2017densely``.

    Examples
    --------
    >>> sum(p.numel() for p in densenet40_12().parameters())
    1019722
    """
    return DenseNet()


def densenet100_12() -> DenseNet:
    """Return DenseNet with 100 layers and growth 12 for CIFAR-10; 6,979,642 parameters. Source: ``huang2017densely``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in densenet100_12().parameters()))
    6979642
    """
    return DenseNet([32] * 3)


def densenet_bc100_12() -> DenseNet:
    """Return DenseNet-BC with 100 layers and growth 12 for CIFAR-10; 769,162 parameters. Source: ``huang2017densely``.

    Examples
    --------
    >>> sum(p.numel() for p in densenet_bc100_12().parameters())
    769162
    """
    return DenseNet([16] * 3, bottleneck=True, compression=0.5, first_channels=24)


def densenet_bc190_40() -> DenseNet:
    """Return DenseNet-BC with 190 layers and growth 40 for CIFAR-10; 25,624,430 parameters.

    Source: ``huang2017densely``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in densenet_bc190_40().parameters()))
    25624430
    """
    return DenseNet([31] * 3, growth=40, bottleneck=True, compression=0.5, first_channels=80)


def densenet121() -> DenseNet:
    """Return DenseNet-BC with 121 layers and growth 32 for ImageNet; 7,978,856 parameters.

    Source: ``huang2017densely``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in densenet121().parameters()))
    7978856
    """
    return DenseNet(
        (6, 12, 24, 16),
        growth=32,
        bottleneck=True,
        compression=0.5,
        first_channels=64,
        large_images=True,
        classes=1000,
    )


SPECIMENS = (
    Specimen(
        name="densenet40-12",
        title="densely connected network, 40 layers of growth 12",
        build=densenet40_12,
        inputs=values(3, 32, 32),
        parameters=1_019_722,
        formula=(
            "x_l = H([x_0, …, x_(l−1)]) in three blocks of 12 layers with 12 channels each; 1,019,722 parameters."
        ),
        source="huang2017densely",
        rows=("repo-densenet",),
        pinned_by="tests/models/test_densenet.py::test_it_has_the_published_size_and_computes_the_same_gradients_in_less_memory",
    ),
    Specimen(
        name="densenet100-12",
        title="densely connected network, 100 layers of growth 12",
        build=densenet100_12,
        inputs=values(3, 32, 32),
        parameters=6_979_642,
        formula=(
            "x_l = H([x_0, …, x_(l−1)]) in three blocks of 32 layers with 12 channels each; 6,979,642 parameters."
        ),
        source="huang2017densely",
        pinned_by="tests/models/test_densenet.py::test_each_layer_sees_all_before_it",
    ),
    Specimen(
        name="densenet-bc100-12",
        title="densely connected network, 100 layers of growth 12 with bottlenecks and compression",
        build=densenet_bc100_12,
        inputs=values(3, 32, 32),
        parameters=769_162,
        formula=(
            "x_l = H([x_0, …, x_(l−1)]) in three blocks of 16 layers with 12 channels each, "
            "bottlenecks of 48, channels halved in between; "
            "769,162 parameters."
        ),
        source="huang2017densely",
        pinned_by="tests/models/test_densenet.py::test_each_layer_sees_all_before_it",
    ),
    Specimen(
        name="densenet-bc190-40",
        title="densely connected network, 190 layers of growth 40 with bottlenecks and compression",
        build=densenet_bc190_40,
        inputs=values(3, 32, 32),
        parameters=25_624_430,
        formula=(
            "x_l = H([x_0, …, x_(l−1)]) in three blocks of 31 layers with 40 channels each, "
            "bottlenecks of 160, channels halved in between; "
            "25,624,430 parameters."
        ),
        source="huang2017densely",
        pinned_by="tests/models/test_densenet.py::test_each_layer_sees_all_before_it",
    ),
    Specimen(
        name="densenet121",
        title="densely connected network, 121 layers of growth 32 for large images",
        build=densenet121,
        inputs=values(3, 224, 224),
        parameters=7_978_856,
        formula=(
            "x_l = H([x_0, …, x_(l−1)]) in blocks of 6, 12, 24 and 16 layers with 32 channels each, "
            "bottlenecks of 128, channels halved in between; "
            "7,978,856 parameters."
        ),
        source="huang2017densely",
        pinned_by="tests/models/test_densenet.py::test_each_layer_sees_all_before_it",
    ),
)
