"""Hamiltonian networks: layers that are steps of a symplectic method."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._reversible import ReversibleStack
from deepscope.models._shortcut import PaddedShortcut, check_stages, convolution
from deepscope.models._sizes import check_images, even, positive


class HamiltonianBranch(nn.Module):
    """Gradient of an energy times a step: f(z) = s Kᵀ σ(K z + b), which is s ∇ 1ᵀψ(K z + b) with ψ′ = σ.

    Maps [batch, width] or, where K is a convolution of 3×3, [batch, channels, height, width] to as many numbers. It has
    w² + w parameters, with a convolution of c channels 9 c² + c. Source: ``chang2018reversible``.

    Parameters
    ----------
    width
        Features or channels.
    step
        s; it may be negative.
    activation
        σ, as ``MLP`` takes it: one that increases makes the energy convex.
    convolutional
        Whether K is a convolution.

    Raises
    ------
    UsageError
        A size below 1, or an unknown activation.

    Examples
    --------
    >>> import torch
    >>> HamiltonianBranch(4, 0.1)(torch.zeros(5, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(self, width: int, step: float, *, activation: str = "tanh", convolutional: bool = False) -> None:
        super().__init__()
        self.step = step
        positive(width, "width", self)
        self.map = nn.Conv2d(width, width, 3, padding=1) if convolutional else nn.Linear(width, width)
        self.activation = make_activation(activation)

    def forward(self, z: Tensor) -> Tensor:
        """Return s Kᵀ σ(K z + b)."""
        h = self.activation(self.map(z))
        if isinstance(self.map, nn.Conv2d):
            return self.step * functional.conv_transpose2d(h, self.map.weight, padding=1)
        return cast(Tensor, self.step * (h @ self.map.weight))


class HamiltonianStack(ReversibleStack):
    """Steps of Verlet's method for Ẏ = K₁ᵀ σ(K₁ Z + b₁), Ż = −K₂ᵀ σ(K₂ Y + b₂) with the halves Y and Z of the channels.

    ::

        Y ← Y + h K₁ᵀ σ(K₁ Z + b₁)
        Z ← Z − h K₂ᵀ σ(K₂ Y + b₂)          with the new Y

    These are Hamilton's equations of H(Y, Z) = 1ᵀψ(K₁ Z + b₁) + 1ᵀψ(K₂ Y + b₂), ψ′ = σ. The step is symplectic: with J
    the matrix of the form, its Jacobian S keeps SᵀJS = J, so that it keeps volumes, can be computed back, and, where
    all layers have the same weights, keeps H up to an error of order h that does not grow with depth. Jacobians of
    the equations have eigenvalues on the imaginary axis where K₁ = K₂: signals neither explode nor vanish. Maps
    [batch, features] or, convolutional, [batch, channels, height, width] to as many numbers. A step of c channels has
    c²/2 + c parameters, or 9 c²/2 + c. Sources: ``haber2017stable``, ``chang2018reversible``.

    Parameters
    ----------
    width
        Features or channels, an even number.
    depth
        Number of steps.
    step
        h.
    activation, convolutional
        As ``HamiltonianBranch`` takes them.
    shared
        Whether all steps have the same weights: then it is the flow of one energy.
    recompute
        As ``ReversibleStack`` takes it.

    Raises
    ------
    UsageError
        A size below 1, an odd width, a step that is not above 0, an unknown activation; when called: an input of an odd
        number of channels.

    Examples
    --------
    >>> import torch
    >>> stack = HamiltonianStack(6, 200, step=0.1)
    >>> x = torch.ones(5, 6)
    >>> torch.allclose(stack.inverse(stack(x)), x, atol=1e-4), sum(p.numel() for p in stack.parameters())
    (True, 4800)
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        step: float = 0.1,
        activation: str = "tanh",
        convolutional: bool = False,
        shared: bool = False,
        recompute: bool = True,
    ) -> None:
        if not 0 < step < math.inf:
            raise UsageError(f"step is {step}", where=type(self).__name__, todo="Give a finite number above 0.")
        half = even(width, "width", self) // 2
        steps: Iterable[nn.Module] = [
            HamiltonianBranch(half, sign * step, activation=activation, convolutional=convolutional)
            for _ in range(1 if shared else positive(depth, "depth", self))
            for sign in (1, -1)
        ]
        super().__init__(steps, recompute=recompute)
        if shared:
            self.branches.extend(list(self.branches) * (positive(depth, "depth", self) - 1))


class HamiltonianCNN(nn.Module):
    """Hamiltonian network for images: stages of ``HamiltonianStack``, each at half the size of the one before.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size that is a multiple of
    2 for each stage but the first. A convolution of 3×3, normalised, makes the channels of the first stage; between
    stages are mean pooling over 2×2 and channels of zeros; the mean over all pixels and a linear layer follow. Memory
    of the backward pass grows with the number of stages, not with that of steps. With n steps of c channels a stage has
    n (9 c²/2 + c) parameters, a quarter of those of as many residual blocks. Source: ``chang2018reversible``, for
    which step and activation are ours.

    Parameters
    ----------
    blocks, channels
        Number of steps in each stage, and of their channels, which are even in number and do not become fewer.
    step, activation, recompute
        As ``HamiltonianStack`` takes them.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1, odd channels or fewer than before, unequal numbers of stages, a step that is not above 0; when
        called: an input that is not [batch, in_channels, height, width] of floating-point numbers, or of another size.

    Examples
    --------
    >>> import torch
    >>> model = HamiltonianCNN([2, 2], [8, 16])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 3330)
    """

    def __init__(
        self,
        blocks: Sequence[int] = (6, 6, 6),
        channels: Sequence[int] = (32, 64, 112),
        *,
        step: float = 0.1,
        activation: str = "relu",
        recompute: bool = True,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        check_stages(blocks, channels, self)
        self.in_channels, self.multiple = positive(in_channels, "in_channels", self), 2 ** (len(blocks) - 1)
        self.stem = nn.Sequential(
            OrderedDict(convolution=convolution(in_channels, channels[0], 3), normalisation=nn.BatchNorm2d(channels[0]))
        )
        given: dict[str, Any] = {"step": step, "activation": activation, "recompute": recompute}
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for index, (n, width) in enumerate(zip(blocks, channels, strict=True), start=1):
            if index > 1:
                stages[f"pooling{index}"] = nn.AvgPool2d(2)
                stages[f"padding{index}"] = PaddedShortcut(channels[index - 2], width)
            stages[f"stage{index}"] = HamiltonianStack(width, n, convolutional=True, **given)
        self.stages = nn.Sequential(stages)
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels[-1], positive(classes, "classes", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self, smallest=self.multiple, multiple=self.multiple)
        return cast(Tensor, self.output(self.flatten(self.pooling(self.stages(self.stem(x))))))


def hamiltonian_cnn() -> HamiltonianCNN:
    """Return the network of stages of 6 steps with 32, 64 and 112 channels for CIFAR-10; 480,234 parameters.

    Source: ``chang2018reversible``.

    Examples
    --------
    >>> sum(p.numel() for p in hamiltonian_cnn().parameters())
    480234
    """
    return HamiltonianCNN()


SPECIMENS = (
    Specimen(
        name="hamiltonian-cnn",
        title="Hamiltonian network",
        build=hamiltonian_cnn,
        inputs=values(3, 32, 32),
        parameters=480_234,
        formula="Y ← Y + h K₁ᵀ σ(K₁ Z + b₁), Z ← Z − h K₂ᵀ σ(K₂ Y + b₂) on the halves of the channels: Verlet's steps "
        "of Hamilton's equations, which can be computed back and keep the symplectic form.",
        source="chang2018reversible",
        rows=("hamiltonian-resnet",),
        pinned_by="tests/models/test_hamiltonian.py::test_200_layers_are_computed_back_keep_energy_and_need_little_memory",
    ),
)
