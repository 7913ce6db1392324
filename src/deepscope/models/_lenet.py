"""LeNet-5."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._sizes import check_shape


class LeNet(nn.Sequential):
    """LeNet-5 for images of 1×28×28: two convolutions with pooling, three linear layers; 61,706 parameters.

    Maps [batch, 1, 28, 28] to logits [batch, 10]::

        convolution1  1 →  6 channels, 5×5, padding 2    [6, 28, 28]     156 parameters
        pooling1      mean over 2×2                      [6, 14, 14]
        convolution2  6 → 16 channels, 5×5               [16, 10, 10]  2,416
        pooling2      mean over 2×2                      [16, 5, 5]
        linear1       400 → 120                                       48,120
        linear2       120 → 84                                        10,164
        output        84 → 10                                            850

    As is usual today it differs from the paper's in four points: padding in place of images of 32×32, every channel of
    the second convolution sees all of the first (there 1,516 parameters), plain pooling without a learned scale, and
    linear logits in place of distances to fixed patterns. Source: ``lecun1998gradient``.

    Parameters
    ----------
    activation
        After each hidden layer, before pooling: the paper's ``"tanh"``, or as in ``MLP``.

    Raises
    ------
    UsageError
        Unknown activation; when called: an input that is not [batch, 1, 28, 28] floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> model = LeNet()
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 61706)
    """

    def __init__(self, *, activation: str = "tanh") -> None:
        super().__init__(
            OrderedDict(
                convolution1=nn.Conv2d(1, 6, 5, padding=2),
                activation1=make_activation(activation),
                pooling1=nn.AvgPool2d(2),
                convolution2=nn.Conv2d(6, 16, 5),
                activation2=make_activation(activation),
                pooling2=nn.AvgPool2d(2),
                flatten=nn.Flatten(),
                linear1=nn.Linear(400, 120),
                activation3=make_activation(activation),
                linear2=nn.Linear(120, 84),
                activation4=make_activation(activation),
                output=nn.Linear(84, 10),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, 10]."""
        check_shape(x, (1, 28, 28), self)
        logits: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return logits


SPECIMENS = (
    Specimen(
        name="lenet-5",
        title="convolutional network for handwritten digits",
        build=LeNet,
        inputs=values(1, 28, 28),
        parameters=61_706,
        formula=(
            "1×28×28 → 6 maps of 5×5 convolution, mean over 2×2 → 16 maps of 5×5 convolution, mean over 2×2 → "
            "120 → 84 → 10 logits, tanh after each hidden layer; 61,706 parameters."
        ),
        source="lecun1998gradient",
        pinned_by="tests/models/test_models.py::test_lenet_has_the_published_shapes_and_61706_parameters",
    ),
)
