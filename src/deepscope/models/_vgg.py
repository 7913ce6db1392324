"""VGG."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._sizes import check_shape, positive, probability


class VGG(nn.Module):
    """VGG: blocks of 3×3 convolutions with a max pooling after each, then three linear layers.

    Maps [batch, in_channels, image_size, image_size] to logits [batch, classes]. Block i has blocks[i] convolutions of
    channels[i] channels, each with a padding of 1 and a ReLU, and halves height and width by max pooling over 2×2.
    A stack of n such convolutions sees 2n + 1 pixels, as one of (2n + 1)×(2n + 1) does, with 9 n in place of (2n + 1)²
    weights per pair of channels and n ReLUs in place of one. Two hidden linear layers follow, in training with dropout
    of their outputs.

    With c inputs and d outputs a convolution has d (9 c + 1) parameters, a batch normalisation 2 d more:

    =======  ===========  ===============  ===================
    network  blocks       parameters       with batch norm
    =======  ===========  ===============  ===================
    vgg11    1 1 2 2 2    132,863,336      132,868,840
    vgg13    2 2 2 2 2    133,047,848      133,053,736
    vgg16    2 2 3 3 3    138,357,544      138,365,992
    vgg19    2 2 4 4 4    143,667,240      143,678,248
    =======  ===========  ===============  ===================

    VGG-16 costs 15.5·10⁹ multiplications per sample forward. Weights are drawn as Glorot and Bengio do, uniform with
    variance 2 / (fan_in + fan_out), which the paper found to make its pre-training of the first layers unnecessary;
    biases are 0. Batch normalisation came after the paper; with it convolutions have a bias still, as is usual.
    Source: ``simonyan2015very``; weights: ``glorot2010understanding``.

    Parameters
    ----------
    blocks
        Number of convolutions of each block.
    channels
        Of each block.
    batch_norm
        Whether a batch normalisation follows each convolution.
    in_channels, classes
        Channels of the images; number of logits.
    image_size
        Height and width of the images, a multiple of 2^(number of blocks).
    hidden_size
        Width of the two hidden linear layers.
    dropout
        Probability that an output of a hidden linear layer is dropped in training.

    Raises
    ------
    UsageError
        A size below 1; unequal numbers of blocks and channels; an image size that does not divide; a probability
        outside of [0, 1); when called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> model = VGG((1, 1), (8, 16), image_size=8, hidden_size=20, classes=10)
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 3322)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (2, 2, 3, 3, 3),
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        *,
        batch_norm: bool = False,
        in_channels: int = 3,
        classes: int = 1000,
        image_size: int = 224,
        hidden_size: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(blocks) != len(channels) or not blocks:
            what = f"there are {len(blocks)} blocks and {len(channels)} numbers of channels"
            raise UsageError(what, where="VGG", todo="Give one number of channels per block.")
        size, rest = divmod(positive(image_size, "image_size", self), 2 ** len(blocks))
        if rest:
            todo = f"Give a multiple of {2 ** len(blocks)}: each block halves it."
            raise UsageError(f"image_size is {image_size}", where="VGG", todo=todo)
        self.shape = (positive(in_channels, "in_channels", self), image_size, image_size)
        width, drop = positive(hidden_size, "hidden_size", self), probability(dropout, "dropout", self)
        features: OrderedDict[str, nn.Module] = OrderedDict()
        fan_in = in_channels
        for index, (n, fan_out) in enumerate(zip(blocks, channels, strict=True), start=1):
            positive(n, "a number of convolutions", self)
            features[f"block{index}"] = _block(n, fan_in, positive(fan_out, "a number of channels", self), batch_norm)
            fan_in = fan_out
        self.features = nn.Sequential(features)
        self.classifier = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                linear1=nn.Linear(fan_in * size**2, width),
                activation1=nn.ReLU(),
                dropout1=nn.Dropout(drop),
                linear2=nn.Linear(width, width),
                activation2=nn.ReLU(),
                dropout2=nn.Dropout(drop),
                output=nn.Linear(width, positive(classes, "classes", self)),
            )
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # each has one

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_shape(x, self.shape, self)
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _block(n: int, fan_in: int, fan_out: int, batch_norm: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(1, n + 1):
        layers[f"convolution{index}"] = nn.Conv2d(fan_in, fan_out, 3, padding=1)
        if batch_norm:
            layers[f"normalisation{index}"] = nn.BatchNorm2d(fan_out)
        layers[f"activation{index}"] = nn.ReLU()
        fan_in = fan_out
    layers["pooling"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def vgg11(*, batch_norm: bool = False) -> VGG:
    """Return configuration A: eight convolutions; 132,863,336 parameters (133 million).

    Source: ``simonyan2015very``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in vgg11().parameters()))
    132863336
    """
    return VGG((1, 1, 2, 2, 2), batch_norm=batch_norm)


def vgg13(*, batch_norm: bool = False) -> VGG:
    """Return configuration B: ten convolutions; 133,047,848 parameters (133 million).

    Source: ``simonyan2015very``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in vgg13().parameters()))
    133047848
    """
    return VGG((2, 2, 2, 2, 2), batch_norm=batch_norm)


def vgg16(*, batch_norm: bool = False) -> VGG:
    """Return configuration D: thirteen convolutions; 138,357,544 parameters (138 million).

    Source: ``simonyan2015very``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in vgg16().parameters()))
    138357544
    """
    return VGG((2, 2, 3, 3, 3), batch_norm=batch_norm)


def vgg19(*, batch_norm: bool = False) -> VGG:
    """Return configuration E: sixteen convolutions; 143,667,240 parameters (144 million).

    Source: ``simonyan2015very``.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     print(sum(p.numel() for p in vgg19().parameters()))
    143667240
    """
    return VGG((2, 2, 4, 4, 4), batch_norm=batch_norm)


SPECIMENS = (
    Specimen(
        name="vgg11",
        title="blocks of 3×3 convolutions, 11 layers with weights",
        build=vgg11,
        inputs=values(3, 224, 224),
        parameters=132_863_336,
        formula=(
            "Blocks of 1, 1, 2, 2 and 2 convolutions of 3×3 with 64, 128, 256, 512 and 512 channels, ReLU and max "
            "pooling over 2×2 → 4,096 → 4,096 → 1,000 logits; 132,863,336 parameters."
        ),
        source="simonyan2015very",
        pinned_by="tests/models/test_vgg.py::test_a_stack_of_small_convolutions_sees_what_a_large_one_does",
    ),
    Specimen(
        name="vgg13",
        title="blocks of 3×3 convolutions, 13 layers with weights",
        build=vgg13,
        inputs=values(3, 224, 224),
        parameters=133_047_848,
        formula=(
            "Blocks of 2, 2, 2, 2 and 2 convolutions of 3×3 with 64, 128, 256, 512 and 512 channels, ReLU and max "
            "pooling over 2×2 → 4,096 → 4,096 → 1,000 logits; 133,047,848 parameters."
        ),
        source="simonyan2015very",
        pinned_by="tests/models/test_vgg.py::test_a_stack_of_small_convolutions_sees_what_a_large_one_does",
    ),
    Specimen(
        name="vgg16",
        title="blocks of 3×3 convolutions, 16 layers with weights",
        build=vgg16,
        inputs=values(3, 224, 224),
        parameters=138_357_544,
        formula=(
            "Blocks of 2, 2, 3, 3 and 3 convolutions of 3×3 with 64, 128, 256, 512 and 512 channels, ReLU and max "
            "pooling over 2×2 → 4,096 → 4,096 → 1,000 logits; 138,357,544 parameters."
        ),
        source="simonyan2015very",
        rows=("cnn-heading-4",),
        pinned_by="tests/models/test_vgg.py::test_a_stack_of_small_convolutions_sees_what_a_large_one_does",
    ),
    Specimen(
        name="vgg19",
        title="blocks of 3×3 convolutions, 19 layers with weights",
        build=vgg19,
        inputs=values(3, 224, 224),
        parameters=143_667_240,
        formula=(
            "Blocks of 2, 2, 4, 4 and 4 convolutions of 3×3 with 64, 128, 256, 512 and 512 channels, ReLU and max "
            "pooling over 2×2 → 4,096 → 4,096 → 1,000 logits; 143,667,240 parameters."
        ),
        source="simonyan2015very",
        pinned_by="tests/models/test_vgg.py::test_a_stack_of_small_convolutions_sees_what_a_large_one_does",
    ),
)
