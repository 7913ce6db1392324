"""Residual networks whose layers are steps of a linear multi-step method."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._inputs import values
from deepscope.models._preactivation_resnet import PreActivationBlock
from deepscope.models._residual_branch import residual_branch
from deepscope.models._shortcut import check_stages, convolution, initialise
from deepscope.models._sizes import check_images, positive


class LinearMultistepStack(nn.Module):
    """Steps of a linear two-step method: x₁ = x₀ + f₀(x₀), x_{n+1} = (1 − k_n) x_n + k_n x_{n−1} + f_n(x_n).

    Maps a tensor to one of its shape. With k = 0 it is a residual network. With f = h g and the same k at all layers
    it solves (1 + k) dx/dt = g(x), with an error that is (1 − k)/(1 + k) times that of Euler's method: of first order
    for k ≠ 1, of second for k = 1, the leapfrog. The method is stable for −1 < k ≤ 1. It has the branches' parameters
    and ``k``, one number for each layer but the first, which begin uniform between −0.1 and 0. Source:
    ``lu2018beyond``.

    Parameters
    ----------
    branches
        f₀, f₁, …; at least one.

    Raises
    ------
    UsageError
        No branches; when called: a branch that changes the shape.

    Examples
    --------
    >>> stack = LinearMultistepStack([nn.Linear(3, 3) for _ in range(4)])
    >>> stack(torch.zeros(5, 3)).shape, stack.k.shape
    (torch.Size([5, 3]), torch.Size([3]))
    """

    def __init__(self, branches: Iterable[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        if not len(self.branches):
            raise UsageError("there are no branches", where="LinearMultistepStack", todo="Give at least one.")
        self.k = nn.Parameter(torch.empty(len(self.branches) - 1).uniform_(-0.1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last x."""
        before, x = x, x + self._added(0, x)
        for index, k in enumerate(self.k, start=1):
            before, x = x, (1 - k) * x + k * before + self._added(index, x)
        return x

    def _added(self, index: int, x: Tensor) -> Tensor:
        added: Tensor = self.branches[index](x)
        if added.shape != x.shape:
            raise UsageError(
                f"branch {index} maps {list(x.shape)} to {list(added.shape)}",
                where="LinearMultistepStack",
                todo="Give branches that return as many numbers as they get.",
            )
        return added


class LMResNet(nn.Module):
    """Linear multi-step residual network: a residual network with pre-activation that looks two layers back.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size. A convolution of 3×3;
    stages of ``LinearMultistepStack`` whose branches are normalisation, ReLU and convolution of 3×3, twice; before each
    stage but the first a ``PreActivationBlock`` of stride 2, over which no step looks back; normalisation, ReLU, the
    mean over all pixels and a linear layer. With n blocks in each of three stages it has the parameters of a residual
    network and 3 n − 5 more, one for each block that looks back. Convolutions are drawn as He et al. do,
    N(0, 2 / fan_out). Source: ``lu2018beyond``.

    Parameters
    ----------
    blocks, channels
        Number of blocks in each stage, at least 2 in each but the first, and of their channels.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1, a stage without a step, unequal numbers of stages, fewer channels than before; when called: an
        input that is not [batch, in_channels, height, width] of floating-point numbers.

    Examples
    --------
    >>> model = LMResNet([2, 3], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, model.stages.stage2.steps.k.shape
    (torch.Size([5, 10]), torch.Size([1]))
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        channels: Sequence[int] = (16, 32, 64),
        *,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels = positive(in_channels, "in_channels", self)
        self.stem = convolution(in_channels, channels[0], 3)
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if index > 1:
                layers["reduction"] = PreActivationBlock(channels[index - 2], width, stride=2)
                n = positive(n - 1, "a number of blocks behind that which halves the size", self)
            layers["steps"] = LinearMultistepStack(residual_branch(width, width) for _ in range(n))
            stages[f"stage{index}"] = nn.Sequential(layers)
        self.stages = nn.Sequential(stages)
        self.normalisation = nn.BatchNorm2d(channels[-1])
        self.activation = nn.ReLU()
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels[-1], positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self)
        features = self.activation(self.normalisation(self.stages(self.stem(x))))
        return cast(Tensor, self.output(self.flatten(self.pooling(features))))


def lm_resnet20() -> LMResNet:
    """Return the linear multi-step network of 20 layers for CIFAR-10; 269,726 parameters. Source: ``lu2018beyond``.

    Examples
    --------
    >>> sum(p.numel() for p in lm_resnet20().parameters())
    269726
    """
    return LMResNet()


def lm_resnet56() -> LMResNet:
    """Return the linear multi-step network of 56 layers for CIFAR-10; 853,040 parameters. Source: ``lu2018beyond``.

    Examples
    --------
    >>> sum(p.numel() for p in lm_resnet56().parameters())
    853040
    """
    return LMResNet((9, 9, 9))


SPECIMENS = (
    Specimen(
        name="lm-resnet20",
        title="linear multi-step residual network of 20 layers",
        build=lm_resnet20,
        inputs=values(3, 32, 32),
        parameters=269_726,
        formula="x_{n+1} = (1 − k_n) x_n + k_n x_{n−1} + f_n(x_n) with numbers k_n that are learnt: a residual network "
        "for k = 0, the leapfrog for k = 1.",
        source="lu2018beyond",
        pinned_by="tests/models/test_linear_multistep.py::test_it_solves_an_equation_at_the_order_that_k_sets",
    ),
    Specimen(
        name="lm-resnet56",
        title="linear multi-step residual network of 56 layers",
        build=lm_resnet56,
        inputs=values(3, 32, 32),
        parameters=853_040,
        formula="x_{n+1} = (1 − k_n) x_n + k_n x_{n−1} + f_n(x_n) with numbers k_n that are learnt: a residual network "
        "for k = 0, the leapfrog for k = 1.",
        source="lu2018beyond",
        pinned_by="tests/models/test_linear_multistep.py::test_it_solves_an_equation_at_the_order_that_k_sets",
    ),
)
