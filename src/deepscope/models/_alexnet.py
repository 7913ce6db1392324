"""AlexNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._receptive_field import Window, output_size
from deepscope.models._sizes import check_shape, positive, probability

_CHANNELS = (96, 256, 384, 384, 256)
# As far as the last pooling, along one axis.
_WINDOWS = (
    Window(kernel_size=11, stride=4, padding=2),
    Window(kernel_size=3, stride=2),
    Window(kernel_size=3, stride=2),
    Window(kernel_size=3, stride=2),
)


class AlexNet(nn.Module):
    """AlexNet: five convolutions in two columns and three linear layers; 60,965,224 parameters.

    Maps [batch, in_channels, image_size, image_size] to logits [batch, classes]; in the reference size::

        convolution1   3 →  96 channels, 11×11, stride 4            [96, 55, 55]      34,944 parameters
        normalisation1, pooling1  over 3×3, stride 2                [96, 27, 27]
        convolution2  96 → 256 channels, 5×5, two groups            [256, 27, 27]    307,456
        normalisation2, pooling2  over 3×3, stride 2                [256, 13, 13]
        convolution3 256 → 384 channels, 3×3                        [384, 13, 13]    885,120
        convolution4 384 → 384 channels, 3×3, two groups            [384, 13, 13]    663,936
        convolution5 384 → 256 channels, 3×3, two groups            [256, 13, 13]    442,624
        pooling3       over 3×3, stride 2                           [256, 6, 6]
        linear1      9,216 → 4,096                                                37,752,832
        linear2      4,096 → 4,096                                                16,781,312
        output       4,096 → 1,000                                                 4,097,000

    A ReLU follows each layer but the last. The groups are the columns that the paper ran on two GPUs: the second,
    fourth and fifth convolution see the channels of their own column alone. The local response normalisation divides
    by (2 + 10⁻⁴ Σ a²)^¾, where the sum is over the five nearest channels. Half of the units of both hidden linear
    layers are dropped in training. Weights are drawn from N(0, 0.01²); biases are 1 in the second, fourth and fifth
    convolution and the hidden linear layers, and else 0. A sample costs 0.72·10⁹ multiplications forward.

    It differs from the paper in one point: images have 224 pixels a side there, which the first convolution covers only
    with a padding that the paper does not mention: 2 pixels here. Source: ``krizhevsky2012imagenet``.

    Parameters
    ----------
    in_channels, classes
        Channels of the images; number of logits.
    image_size
        Height and width of the images, at least 63.
    channels
        Of the five convolutions; all even, for the two columns.
    hidden_size
        Width of the two hidden linear layers.
    dropout
        Probability that a unit of a hidden linear layer is dropped in training.

    Raises
    ------
    UsageError
        A size below 1; images too small; channels that are not five even numbers; a probability outside of [0, 1); when
        called: an input of another shape or dtype.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     model = AlexNet()
    ...     logits = model(torch.zeros(5, 3, 224, 224))
    >>> logits.shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 1000]), 60965224)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        classes: int = 1000,
        image_size: int = 224,
        channels: Sequence[int] = _CHANNELS,
        hidden_size: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        side = positive(image_size, "image_size", self)
        self.shape = (positive(in_channels, "in_channels", self), side, side)
        if side < 63:
            raise UsageError(f"image_size is {image_size}", where="AlexNet", todo="Give at least 63.")
        if len(channels) != 5 or any(positive(each, "a number of channels", self) % 2 for each in channels):
            raise UsageError(f"channels are {list(channels)}", where="AlexNet", todo="Give five even numbers.")
        first, second, third, fourth, fifth = channels
        flat = fifth * output_size(image_size, _WINDOWS) ** 2
        width = positive(hidden_size, "hidden_size", self)
        drop = probability(dropout, "dropout", self)
        self.features = nn.Sequential(
            OrderedDict(
                convolution1=nn.Conv2d(in_channels, first, 11, stride=4, padding=2),
                activation1=nn.ReLU(),
                normalisation1=_response_normalisation(),
                pooling1=nn.MaxPool2d(3, stride=2),
                convolution2=nn.Conv2d(first, second, 5, padding=2, groups=2),
                activation2=nn.ReLU(),
                normalisation2=_response_normalisation(),
                pooling2=nn.MaxPool2d(3, stride=2),
                convolution3=nn.Conv2d(second, third, 3, padding=1),
                activation3=nn.ReLU(),
                convolution4=nn.Conv2d(third, fourth, 3, padding=1, groups=2),
                activation4=nn.ReLU(),
                convolution5=nn.Conv2d(fourth, fifth, 3, padding=1, groups=2),
                activation5=nn.ReLU(),
                pooling3=nn.MaxPool2d(3, stride=2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                linear1=nn.Linear(flat, width),
                activation1=nn.ReLU(),
                dropout1=nn.Dropout(drop),
                linear2=nn.Linear(width, width),
                activation2=nn.ReLU(),
                dropout2=nn.Dropout(drop),
                output=nn.Linear(width, positive(classes, "classes", self)),
            )
        )
        self._initialise()

    def _initialise(self) -> None:
        ones = ("convolution2", "convolution4", "convolution5", "linear1", "linear2")
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.constant_(layer.bias, float(name.endswith(ones)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_shape(x, self.shape, self)
        logits: Tensor = self.classifier(self.features(x))
        return logits


def _response_normalisation() -> nn.LocalResponseNorm:
    # The paper's α multiplies a sum over five channels, torch's a mean.
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


SPECIMENS = (
    Specimen(
        name="alexnet",
        title="the convolutional network that won ImageNet 2012",
        build=AlexNet,
        inputs=values(3, 224, 224),
        parameters=60_965_224,
        formula=(
            "3×224×224 → five convolutions (96 of 11×11, 256 of 5×5, 384, 384 and 256 of 3×3; the second, fourth and "
            "fifth in two columns) with ReLU, response normalisation and overlapping max pooling → 4,096 → 4,096 → "
            "1,000 logits; 60,965,224 parameters."
        ),
        source="krizhevsky2012imagenet",
        pinned_by="tests/models/test_alexnet.py::test_it_has_the_neurons_and_the_two_columns_of_the_paper",
    ),
)
