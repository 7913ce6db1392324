"""Neural ordinary differential equations, and augmented ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import gcd
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._ode_block import ODEBlock
from deepscope.models._sizes import check_images, check_shape, positive


class PerceptronField(nn.Module):
    """Vector field of a multilayer perceptron: f(t, z) = W φ(… φ(W₁ [z, t] + b₁) …) + b.

    Maps a scalar t and z, [batch, features], to [batch, features]. With d features and one hidden layer of n units it
    has n(2d + 2) + d parameters, n fewer without time. Source: ``chen2018neural``.

    Parameters
    ----------
    features
        d.
    hidden
        Widths of the hidden layers; none for a field that is linear in z and t.
    activation
        φ, as ``MLP`` takes it; a smooth one keeps the order of the solver.
    time
        Whether f sees t.

    Raises
    ------
    UsageError
        A size below 1, or an unknown activation.

    Examples
    --------
    >>> field = PerceptronField(2, [16])
    >>> field(torch.tensor(0.0), torch.zeros(5, 2)).shape, sum(p.numel() for p in field.parameters())
    (torch.Size([5, 2]), 98)
    """

    def __init__(
        self, features: int, hidden: Sequence[int] = (), *, activation: str = "tanh", time: bool = True
    ) -> None:
        super().__init__()
        self.time = time
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        fan_in = positive(features, "features", self) + time
        for index, width in enumerate(hidden, start=1):
            layers[f"hidden{index}"] = nn.Linear(fan_in, positive(width, "a width", self))
            layers[f"activation{index}"] = make_activation(activation)
            fan_in = width
        layers["output"] = nn.Linear(fan_in, features)
        self.layers = nn.Sequential(layers)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, [batch, features]."""
        return cast(Tensor, self.layers(torch.cat([z, t.expand(len(z), 1)], 1) if self.time else z))


class ConvolutionalField(nn.Module):
    """Vector field of two convolutions: f(t, z) = N₃ C₂[relu N₂ C₁[relu N₁ z, t], t], with t as one more channel.

    Maps a scalar t and z, [batch, channels, height, width], to as many numbers. C are convolutions of 3×3, N group
    normalisations of at most 32 groups. With c channels it has 18 c² + 26 c parameters. Source: ``chen2018neural``.

    Parameters
    ----------
    channels
        c.

    Raises
    ------
    UsageError
        A size below 1.

    Examples
    --------
    >>> field = ConvolutionalField(64)
    >>> field(torch.tensor(0.0), torch.zeros(5, 64, 6, 6)).shape, sum(p.numel() for p in field.parameters())
    (torch.Size([5, 64, 6, 6]), 75392)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        positive(channels, "channels", self)
        self.normalisation1 = _normalisation(channels)
        self.activation1 = nn.ReLU()
        self.convolution1 = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.normalisation2 = _normalisation(channels)
        self.activation2 = nn.ReLU()
        self.convolution2 = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.normalisation3 = _normalisation(channels)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, [batch, channels, height, width]."""
        time = t.expand(len(z), 1, *z.shape[2:])
        h = self.convolution1(torch.cat([self.activation1(self.normalisation1(z)), time], 1))
        h = self.convolution2(torch.cat([self.activation2(self.normalisation2(h)), time], 1))
        return cast(Tensor, self.normalisation3(h))


def _normalisation(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(32, channels), channels)


class NeuralODE(nn.Module):
    """Neural ordinary differential equation of vectors: y = W z(1) + b, dz/dt = f(t, z), z(0) = [x, 0, …, 0].

    Maps [batch, in_features] to [batch, out_features]. The submodules are ``block``, an ``ODEBlock`` of a
    ``PerceptronField``, and ``output``. Sources: ``chen2018neural``; with ``augment`` zeros behind x
    ``dupont2019augmented``.

    Parameters
    ----------
    in_features, out_features
        Sizes of the input and the output.
    hidden, activation, time
        As ``PerceptronField`` takes them.
    solver
        What ``ODEBlock`` takes: ``augment``, ``method``, ``rtol``, ``atol``, ``adjoint``, …

    Raises
    ------
    UsageError
        A size below 1, or what ``ODEBlock`` refuses; when called: an input that is not [batch, in_features] of
        floating-point numbers.
    MeasurementError
        When called: the solver does not arrive.

    Examples
    --------
    >>> model = NeuralODE(2, [32, 32], 1, augment=1, adjoint=True)
    >>> model(torch.zeros(5, 2)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 1]), 1319)
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        *,
        activation: str = "tanh",
        time: bool = True,
        **solver: Any,
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        features = in_features + max(solver.get("augment", 0), 0)
        self.block = ODEBlock(PerceptronField(features, hidden, activation=activation, time=time), **solver)
        self.output = nn.Linear(features, positive(out_features, "out_features", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return y, [batch, out_features]."""
        check_shape(x, [self.in_features], self)
        return cast(Tensor, self.output(self.block(x)))


class ODENet(nn.Module):
    """Network for images whose residual blocks are one differential equation.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size from 10. Convolutions of
    3×3, 4×4 and 4×4 make the image a quarter as large; they are followed by an ``ODEBlock`` of a
    ``ConvolutionalField``, a normalisation, the mean over all pixels and a linear layer. The paper's has 64 channels
    and 0.22 M parameters and, with one of six residual blocks in the place of the equation, 0.60 M. Source:
    ``chen2018neural``; augmented, with ``augment`` channels of zeros before the equation, ``dupont2019augmented``.

    Parameters
    ----------
    channels
        Of the equation, those of augment not included.
    in_channels, classes
        Channels of the images; number of logits.
    solver
        What ``ODEBlock`` takes: ``augment``, ``method``, ``rtol``, ``atol``, ``adjoint``, …

    Raises
    ------
    UsageError
        A size below 1, or what ``ODEBlock`` refuses; when called: an input that is not [batch, in_channels, height,
        width] of floating-point numbers with at least 10 pixels a side.
    MeasurementError
        When called: the solver does not arrive.

    Examples
    --------
    >>> model = ODENet(8, in_channels=1)
    >>> model(torch.zeros(5, 1, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 3642)
    """

    def __init__(self, channels: int = 64, *, in_channels: int = 1, classes: int = 10, **solver: Any) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels", self)
        self.stem = nn.Sequential(
            OrderedDict(
                convolution1=nn.Conv2d(in_channels, positive(channels, "channels", self), 3),
                normalisation1=_normalisation(channels),
                activation1=nn.ReLU(),
                convolution2=nn.Conv2d(channels, channels, 4, stride=2, padding=1),
                normalisation2=_normalisation(channels),
                activation2=nn.ReLU(),
                convolution3=nn.Conv2d(channels, channels, 4, stride=2, padding=1),
            )
        )
        width = channels + max(solver.get("augment", 0), 0)
        self.block = ODEBlock(ConvolutionalField(width), **solver)
        self.normalisation = _normalisation(width)
        self.activation = nn.ReLU()
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(width, positive(classes, "classes", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        # 8 or 9 pixels a side leave the equation one, which groups of one channel normalise to a constant.
        check_images(x, self.in_channels, self, smallest=10)
        features = self.activation(self.normalisation(self.block(self.stem(x))))
        return cast(Tensor, self.output(self.flatten(self.pooling(features))))


def odenet() -> ODENet:
    """Return the network for MNIST of the paper, with its tolerances of 10⁻³; 208,266 parameters.

    Source: ``chen2018neural``.

    Examples
    --------
    >>> sum(p.numel() for p in odenet().parameters())
    208266
    """
    return ODENet(rtol=1e-3, atol=1e-3)


def augmented_ode() -> NeuralODE:
    """Return an augmented equation of the plane with 5 more dimensions and two hidden layers of 32; 1,551 parameters.

    The kind of the paper's for concentric spheres. Source: ``dupont2019augmented``.

    Examples
    --------
    >>> augmented_ode()(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """
    return NeuralODE(2, [32, 32], 1, activation="relu", time=False, augment=5, rtol=1e-3, atol=1e-3)


SPECIMENS = (
    Specimen(
        name="neural-ode",
        title="neural ordinary differential equation",
        build=odenet,
        inputs=values(1, 28, 28),
        parameters=208_266,
        formula="z(1) with dz/dt = f(t, z) and z(0) = x in the place of residual blocks, solved by a method that "
        "chooses its steps; the gradient is that of the steps, or comes from the adjoint equation da/dt = −(∂f/∂z)ᵀ a.",
        source="chen2018neural",
        rows=("neural-ode",),
        pinned_by="tests/models/test_neural_ode.py::test_the_adjoint_needs_little_memory_and_augmentation_lets_paths_cross",
    ),
    Specimen(
        name="augmented-neural-ode",
        title="augmented neural ordinary differential equation",
        build=augmented_ode,
        inputs=values(2),
        parameters=1_551,
        formula="dz/dt = f(z) from z(0) = [x, 0, …, 0]: paths that cannot cross in the space of x pass each other in "
        "the dimensions that are added.",
        source="dupont2019augmented",
        pinned_by="tests/models/test_neural_ode.py::test_paths_on_the_line_keep_their_order",
    ),
)
