"""Networks that are discretised partial differential equations: parabolic and hyperbolic ones."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._shortcut import check_stages, convolution
from deepscope.models._sizes import check_images, positive


class SymmetricLayer(nn.Module):
    """Symmetric layer F(y) = −Kᵀ σ(N(K y)), where K is a convolution and Kᵀ its transpose.

    Maps [batch, channels, height, width] to as many numbers. Without a normalisation N, and for σ that increases, its
    Jacobian −Kᵀ diag(σ′) K is symmetric and has no positive eigenvalue: F is the negative gradient of a convex
    function, and dy/dt = F(y) lets the distance of two solutions only fall, as heat flow does. With c channels there
    are 9 c² parameters, 2 c more with a normalisation; K begins as N(0, 1 / (9 c)). Source: ``ruthotto2020deep``.

    Parameters
    ----------
    channels
        c.
    activation
        σ, as ``MLP`` takes it.
    normalisation
        Whether N is an instance normalisation with weights, as in the paper's networks, or nothing; it is then no
        longer symmetric.

    Raises
    ------
    UsageError
        A size below 1, or an unknown activation.

    Examples
    --------
    >>> import torch
    >>> SymmetricLayer(4)(torch.zeros(5, 4, 6, 6)).shape
    torch.Size([5, 4, 6, 6])
    """

    def __init__(self, channels: int, *, activation: str = "relu", normalisation: bool = False) -> None:
        super().__init__()
        self.convolution = convolution(positive(channels, "channels", self), channels, 3)
        self.normalisation = nn.InstanceNorm2d(channels, affine=True) if normalisation else nn.Identity()
        self.activation = make_activation(activation)
        nn.init.normal_(self.convolution.weight, std=1 / math.sqrt(9 * channels))

    def forward(self, y: Tensor) -> Tensor:
        """Return −Kᵀ σ(N(K y))."""
        inner = self.activation(self.normalisation(self.convolution(y)))
        return -functional.conv_transpose2d(inner, self.convolution.weight, padding=1)


class ParabolicStack(nn.Module):
    """Steps of Euler's method for dy/dt = F(y), y ← y + h F_j(y), with symmetric layers F_j.

    Maps [batch, channels, height, width] to as many numbers. As F is the negative gradient of a convex function whose
    curvature is at most |K|² max σ′, a step with h ≤ 2/(|K|² max σ′) brings any two inputs closer together, or
    leaves them as far apart. Source: ``ruthotto2020deep``.

    Parameters
    ----------
    channels, activation, normalisation
        As ``SymmetricLayer`` takes them.
    depth
        Number of steps.
    step
        h.

    Raises
    ------
    UsageError
        A size below 1, a step that is not above 0, or an unknown activation; when called: an input that is not [batch,
        channels, height, width] of floating-point numbers.

    Examples
    --------
    >>> import torch
    >>> stack = ParabolicStack(4, 3)
    >>> stack(torch.zeros(5, 4, 6, 6)).shape, sum(p.numel() for p in stack.parameters())
    (torch.Size([5, 4, 6, 6]), 432)
    """

    def __init__(
        self, channels: int, depth: int, *, step: float = 0.1, activation: str = "relu", normalisation: bool = False
    ) -> None:
        super().__init__()
        if not 0 < step < math.inf:
            raise UsageError(f"step is {step}", where=type(self).__name__, todo="Give a finite number above 0.")
        self.channels, self.step = positive(channels, "channels", self), step
        self.layers = nn.ModuleList(
            SymmetricLayer(channels, activation=activation, normalisation=normalisation)
            for _ in range(positive(depth, "depth", self))
        )

    def forward(self, y: Tensor) -> Tensor:
        """Return the last y."""
        check_images(y, self.channels, self)
        for layer in self.layers:
            y = y + self.step * layer(y)
        return y


class HyperbolicStack(ParabolicStack):
    """Leapfrog steps for d²y/dt² = F(y), y_{j+1} = 2 y_j − y_{j−1} + h² F_j(y_j), from y₋₁ = y₀.

    Maps and parameters are those of ``ParabolicStack``. A wave equation: where all layers are the same, without
    normalisation, ½ |dy/dt|² + Φ(y) with F = −∇Φ is conserved up to an error of order h² that does not grow with depth.
    Every step can be computed back. Source: ``ruthotto2020deep``, where it is called second-order.

    Examples
    --------
    >>> import torch
    >>> HyperbolicStack(4, 3)(torch.zeros(5, 4, 6, 6)).shape
    torch.Size([5, 4, 6, 6])
    """

    def forward(self, y: Tensor) -> Tensor:
        """Return the last y."""
        check_images(y, self.channels, self)
        before = y
        for layer in self.layers:
            before, y = y, self.leap(before, y, layer)
        return y

    def leap(self, before: Tensor, y: Tensor, layer: nn.Module) -> Tensor:
        """Return y_{j+1} from y_{j−1} and y_j; with y_{j+1} in the place of y_{j−1} it gives that back."""
        return cast(Tensor, 2 * y - before + self.step**2 * layer(y))


class PDENet(nn.Module):
    """Network for images whose stages are partial differential equations in the time of the layers.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size that is a multiple of
    2 for each stage but the first. A convolution of 3×3, normalised, with ReLU makes the channels of the first stage;
    between stages are a convolution of 1×1, normalised, with ReLU and mean pooling over 2×2; the mean over all pixels
    and a linear layer follow. A step of c channels has 9 c² parameters, half of those of a residual block. Source:
    ``ruthotto2020deep``; the stem and the sizes are ours.

    Parameters
    ----------
    blocks, channels
        Number of steps in each stage, and of their channels.
    hyperbolic
        Whether stages are a ``HyperbolicStack`` rather than a ``ParabolicStack``.
    step, activation, normalisation
        As ``ParabolicStack`` takes them.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1, unequal numbers of stages, a step that is not above 0; when called: an input that is not [batch,
        in_channels, height, width] of floating-point numbers, or of another size.

    Examples
    --------
    >>> import torch
    >>> model = PDENet([2, 2], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 6418)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        channels: Sequence[int] = (32, 64, 112),
        *,
        hyperbolic: bool = False,
        step: float = 0.1,
        activation: str = "relu",
        normalisation: bool = True,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels, self.multiple = positive(in_channels, "in_channels", self), 2 ** (len(blocks) - 1)
        self.stem = _opening(in_channels, channels[0], 3)
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            if index > 1:
                stages[f"connection{index}"] = _opening(channels[index - 2], width, 1)
                stages[f"pooling{index}"] = nn.AvgPool2d(2)
            stack = HyperbolicStack if hyperbolic else ParabolicStack
            stages[f"stage{index}"] = stack(width, n, step=step, activation=activation, normalisation=normalisation)
        self.stages = nn.Sequential(stages)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels[-1], positive(classes, "classes", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self, smallest=2 * self.multiple, multiple=self.multiple)
        return cast(Tensor, self.output(self.flatten(self.pooling(self.stages(self.stem(x))))))


def _opening(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution=convolution(in_channels, out_channels, kernel_size),
            normalisation=nn.BatchNorm2d(out_channels),
            activation=nn.ReLU(),
        )
    )


def parabolic_cnn() -> PDENet:
    """Return the parabolic network of three stages of 3 steps with 32, 64 and 112 channels; 489,802 parameters.

    Source: ``ruthotto2020deep``; the size is ours.

    Examples
    --------
    >>> sum(p.numel() for p in parabolic_cnn().parameters())
    489802
    """
    return PDENet()


def hyperbolic_cnn() -> PDENet:
    """Return ``parabolic_cnn`` with equations of second order; 489,802 parameters.

    Source: ``ruthotto2020deep``; the size is ours.

    Examples
    --------
    >>> sum(p.numel() for p in hyperbolic_cnn().parameters())
    489802
    """
    return PDENet(hyperbolic=True)


SPECIMENS = (
    Specimen(
        name="parabolic-cnn",
        title="parabolic network",
        build=parabolic_cnn,
        inputs=values(3, 32, 32),
        parameters=489_802,
        formula="y ← y + h F(y) with F(y) = −Kᵀ σ(K y): heat flow, whose steps bring any two inputs closer together.",
        source="ruthotto2020deep",
        pinned_by="tests/models/test_parabolic_resnet.py::test_parabolic_layers_bring_inputs_closer",
    ),
    Specimen(
        name="hyperbolic-cnn",
        title="hyperbolic network",
        build=hyperbolic_cnn,
        inputs=values(3, 32, 32),
        parameters=489_802,
        formula="y_{j+1} = 2 y_j − y_{j−1} + h² F(y_j) with F(y) = −Kᵀ σ(K y): leapfrog steps of a wave equation, "
        "which can be computed back and conserve an energy.",
        source="ruthotto2020deep",
        pinned_by="tests/models/test_parabolic_resnet.py::test_hyperbolic_layers_conserve_energy",
    ),
)
