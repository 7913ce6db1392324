"""Residual networks with antisymmetric weights, which are stable at any depth."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._sizes import check_shape, positive


class AntisymmetricLayer(nn.Module):
    """Residual layer y ← y + h σ(A y + b) with A = ½ (K − Kᵀ − γ I): a step of Euler's method for dy/dt = σ(A y + b).

    Maps [batch, width] to as many numbers. As σ′ ≥ 0, the Jacobian σ′(·) A has eigenvalues with real parts between
    −γ max σ′ / 2 and 0: on the imaginary axis for γ = 0, whatever K is. So the equation neither amplifies nor, with a
    small γ, forgets its input. Euler's step amplifies what oscillates, by 1 + h² ω²/2 each: it needs some diffusion,
    γ ≥ h ω² for a frequency ω = Im λ. With width w there are w² + w parameters. Source: ``haber2017stable``.

    Parameters
    ----------
    width
        w.
    step
        h.
    diffusion
        γ.
    activation
        σ, as ``MLP`` takes it; one that does not decrease.

    Raises
    ------
    UsageError
        A size below 1, a step that is not above 0, a negative diffusion, an unknown activation; when called: an input
        that is not [batch, width] of floating-point numbers.

    Examples
    --------
    >>> layer = AntisymmetricLayer(8, step=0.1)
    >>> layer(torch.zeros(5, 8)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 8]), 72)
    """

    def __init__(self, width: int, *, step: float = 0.1, diffusion: float = 0.1, activation: str = "tanh") -> None:
        super().__init__()
        self.width = positive(width, "width", self)
        self.step, self.diffusion = check_step(step, diffusion, self)
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation = make_activation(activation)
        # Entries of ½ (K − Kᵀ) have variance 1/w, and its eigenvalues lie between ±2 i.
        nn.init.normal_(self.weight, std=math.sqrt(2 / width))

    def generator(self) -> Tensor:
        """Return A, [width, width]."""
        return (self.weight - self.weight.T - self.diffusion * torch.eye(self.width).to(self.weight)) / 2

    def forward(self, y: Tensor) -> Tensor:
        """Return y + h σ(A y + b)."""
        check_shape(y, [self.width], self)
        return cast(Tensor, y + self.step * self.activation(functional.linear(y, self.generator(), self.bias)))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.width}, step={self.step}, diffusion={self.diffusion}"


class AntisymmetricResNet(nn.Module):
    """Residual network of ``depth`` layers y ← y + h σ(½ (K − Kᵀ − γ I) y + b) between two linear ones.

    Maps [batch, in_features] to [batch, out_features]. With m inputs, width w, depth L and c outputs it has
    w (m + 1) + L (w² + w) + c (w + 1) parameters. Source: ``haber2017stable``.

    Parameters
    ----------
    in_features, out_features
        m and c.
    width, depth
        w and L.
    step, diffusion, activation
        As ``AntisymmetricLayer`` takes them.

    Raises
    ------
    UsageError
        What ``AntisymmetricLayer`` refuses; when called: an input that is not [batch, in_features] of floating-point
        numbers.

    Examples
    --------
    >>> model = AntisymmetricResNet(64, 10, width=16, depth=5)
    >>> model(torch.zeros(5, 64)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 2570)
    """

    def __init__(
        self,
        in_features: int = 64,
        out_features: int = 10,
        *,
        width: int = 64,
        depth: int = 20,
        step: float = 0.1,
        diffusion: float = 0.1,
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features", self)
        self.input = nn.Linear(in_features, positive(width, "width", self))
        self.layers = nn.Sequential(
            OrderedDict(
                (f"layer{index}", AntisymmetricLayer(width, step=step, diffusion=diffusion, activation=activation))
                for index in range(1, positive(depth, "depth", self) + 1)
            )
        )
        self.output = nn.Linear(width, positive(out_features, "out_features", self))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, [batch, out_features]."""
        check_shape(x, [self.in_features], self)
        return cast(Tensor, self.output(self.layers(self.input(x))))


def check_step(step: float, diffusion: float, owner: object) -> tuple[float, float]:
    """Return the step and the diffusion of a method for an antisymmetric equation, or refuse them.

    Raises
    ------
    UsageError
        A step that is not above 0, or a diffusion below 0, or one that is not finite.
    """
    if not 0 < step < math.inf or not 0 <= diffusion < math.inf:
        raise UsageError(
            f"step is {step}, and diffusion {diffusion}",
            where=type(owner).__name__,
            todo="Give a finite step above 0 and a finite diffusion of at least 0.",
        )
    return step, diffusion


SPECIMENS = (
    Specimen(
        name="antisymmetric-resnet",
        title="residual network with antisymmetric weights",
        build=AntisymmetricResNet,
        inputs=values(64),
        parameters=88_010,
        formula="y ← y + h σ(A y + b) with A = ½ (K − Kᵀ − γ I): eigenvalues of the Jacobian of σ(A y + b) have real "
        "parts between −γ max σ′ / 2 and 0, so that signals neither explode nor vanish with depth.",
        source="haber2017stable",
        rows=("antisymmetric-resnet",),
        pinned_by="tests/models/test_antisymmetric.py::test_signals_stay_where_those_of_free_weights_explode",
    ),
)
