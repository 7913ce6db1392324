"""MgNet: a convolutional network that is a multigrid method."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._activation import make_activation
from deepscope.models._inputs import values
from deepscope.models._shortcut import convolution, initialise
from deepscope.models._sizes import check_images, positive


class SmoothingStep(nn.Module):
    """Smoothing step u ← u + σ(N(B σ(N(f − A u)))): a correction of the features u by the residual of the data f.

    A, which all steps of a grid share, maps features to data, B data to features; N are normalisations. Linear, that is
    σ and N left out, it is an iteration for A u = f: with B = ω / diag A the damped one of Jacobi. Source:
    ``he2019mgnet``.

    Parameters
    ----------
    channels
        Of u and f.
    activation
        σ, as ``MLP`` takes it.
    normalisation
        Whether N are batch normalisations, or nothing.

    Examples
    --------
    >>> step, A = SmoothingStep(4), nn.Conv2d(4, 4, 3, padding=1)
    >>> step(torch.zeros(5, 4, 8, 8), torch.zeros(5, 4, 8, 8), A).shape
    torch.Size([5, 4, 8, 8])
    """

    def __init__(self, channels: int, *, activation: str = "relu", normalisation: bool = True) -> None:
        super().__init__()
        self.residual_normalisation = _normalisation(channels, normalisation)
        self.residual_activation = make_activation(activation)
        self.smoother = convolution(channels, channels, 3)
        self.normalisation = _normalisation(channels, normalisation)
        self.activation = make_activation(activation)

    def forward(self, u: Tensor, f: Tensor, operator: nn.Module) -> Tensor:
        """Return the next u."""
        residual = self.residual_activation(self.residual_normalisation(f - operator(u)))
        return cast(Tensor, u + self.activation(self.normalisation(self.smoother(residual))))


class MgCycle(nn.Module):
    """Multigrid cycle for A u = f over grids of falling size, with weights that can be learnt.

    ::

        on each grid l = 1, …, J    ν_l times u ← u + σ(N(B σ(N(f − A u))))
        from l to l + 1             u' = N(Π u),  f' = N(R (f − A u)) + A' u'        both of stride 2
        back, if it goes up         u ← u + Rᵀ (u' − Π u), and ν_l times the smoothing step

    All are convolutions of 3×3, and Rᵀ is the transpose of R. Maps f, [batch, channels, height, width], to u of the
    coarsest grid, or with ``upward`` to u of the finest. Linear and with multigrid's weights it is a V-cycle in the
    full approximation scheme, whatever Π is. Up, it takes the smoothing steps of the way down in reverse order. With c
    channels on all grids there are 9 c² (J + Σ ν + 2 (J − 1)) parameters and those of N. Source: ``he2019mgnet``.

    Parameters
    ----------
    channels
        Of u and f on each grid, the finest first.
    steps
        ν₁, …, ν_J.
    activation, normalisation
        As ``SmoothingStep`` takes them.
    upward
        Whether it comes back to the finest grid.
    padding
        Rows of zeros around what is restricted: with 1, sides are halved and rounded up; with 0 and sides 2ᵏ − 1 the
        coarse grids are the inner points of a square, nested in one another.

    Raises
    ------
    UsageError
        A size below 1, a padding that is neither 0 nor 1, unequal numbers of grids; when called: an f or u that is
        not [batch, channels, height, width] of floating-point numbers, or too small to be restricted so often.

    Examples
    --------
    >>> cycle = MgCycle([4, 8], [2, 1])
    >>> cycle(torch.zeros(5, 4, 8, 8)).shape
    torch.Size([5, 8, 4, 4])
    """

    def __init__(
        self,
        channels: Sequence[int],
        steps: Sequence[int],
        *,
        activation: str = "relu",
        normalisation: bool = True,
        upward: bool = False,
        padding: int = 1,
    ) -> None:
        super().__init__()
        if len(channels) != len(steps) or not channels or padding not in (0, 1):
            raise UsageError(
                f"there are {len(channels)} numbers of channels, {len(steps)} of steps, and padding is {padding}",
                where="MgCycle",
                todo="Give one number of channels and one of steps for each grid, and a padding of 0 or 1.",
            )
        self.channels, self.upward, self.padding = tuple(channels), upward, padding
        for width in channels:
            positive(width, "a number of channels", self)
        self.operators = nn.ModuleList(convolution(width, width, 3) for width in channels)
        self.smoothing = nn.ModuleList(
            nn.ModuleList(
                SmoothingStep(width, activation=activation, normalisation=normalisation)
                for _ in range(positive(count, "a number of steps", self))
            )
            for width, count in zip(channels, steps, strict=True)
        )
        transfers = list(pairwise(channels))
        self.restrictions = nn.ModuleList(_halving(a, b, padding) for a, b in transfers)
        self.interpolations = nn.ModuleList(_halving(a, b, padding) for a, b in transfers)
        self.data_normalisations = nn.ModuleList(_normalisation(b, normalisation) for _, b in transfers)
        self.feature_normalisations = nn.ModuleList(_normalisation(b, normalisation) for _, b in transfers)

    def forward(self, f: Tensor, u: Tensor | None = None) -> Tensor:
        """Return u after one cycle, which begins from u = 0 unless given."""
        # A side of 2 (s − 1) + 3 − 2 padding at least becomes one of s: it is to be 1 or more at the end.
        smallest = 2 ** len(self.channels) - 1 if not self.padding else 1
        check_images(f, self.channels[0], self, smallest=smallest)
        u = torch.zeros_like(f) if u is None else u
        if u.shape != f.shape:
            raise UsageError(
                f"u is {list(u.shape)}, and f {list(f.shape)}", where="MgCycle", todo="Give both of one shape."
            )
        passed: list[tuple[Tensor, Tensor]] = []
        for level, operator in enumerate(self.operators):
            if level:
                u = self.feature_normalisations[level - 1](self.interpolations[level - 1](u))
                restricted = self.restrictions[level - 1](passed[-1][0] - self.operators[level - 1](passed[-1][1]))
                f = self.data_normalisations[level - 1](restricted) + operator(u)
            for step in cast(nn.ModuleList, self.smoothing[level]):
                u = step(u, f, operator)
            passed.append((f, u))
        return self._risen(passed) if self.upward else u

    def _risen(self, passed: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        coarse = passed[-1][1]
        for level in range(len(passed) - 2, -1, -1):
            f, u = passed[level]
            begun = self.feature_normalisations[level](self.interpolations[level](u))
            weight = cast(nn.Conv2d, self.restrictions[level]).weight
            # Of the two sides that are halved to the same one, it is that of u.
            whole = [2 * side + 1 - 2 * self.padding for side in coarse.shape[2:]]
            missing = [size - least for size, least in zip(u.shape[2:], whole, strict=True)]
            u = u + functional.conv_transpose2d(
                coarse - begun, weight, stride=2, padding=self.padding, output_padding=missing
            )
            for step in reversed(list(cast(nn.ModuleList, self.smoothing[level]))):
                u = step(u, f, self.operators[level])
            coarse = u
        return coarse


def _normalisation(channels: int, wanted: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if wanted else nn.Identity()


def _halving(in_channels: int, out_channels: int, padding: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=padding, bias=False)


def poisson_cycle(grids: int, *, steps: int = 2) -> MgCycle:
    """Return the linear cycle that is multigrid's V-cycle for −Δu = f on the unit square, u = 0 on its boundary.

    Maps f h², [batch, 1, n, n], at the n² inner points of a grid with n = 2ᵏ − 1 and h = 1/(n + 1), to u. A is the
    stencil of five points, R four times full weighting, Rᵀ bilinear interpolation, Π = 0, and B Jacobi's smoothing,
    ω_i/4, with the ω_i that damp best on the oscillating half of the spectrum: one over the zeros of a Chebyshev
    polynomial on [½, 2]. So two steps damp it by 0.22. Source: ``he2019mgnet``.

    Parameters
    ----------
    grids
        J; n is at least 2^J − 1.
    steps
        ν, smoothing steps before and after each correction.

    Raises
    ------
    UsageError
        Fewer than one grid or step.

    Examples
    --------
    >>> cycle = poisson_cycle(3)
    >>> f = torch.full((1, 1, 7, 7), 1 / 64)
    >>> u = torch.zeros_like(f)
    >>> for _ in range(10):
    ...     u = cycle(f, u)
    >>> bool((cycle.operators[0](u) - f).abs().max() < 1e-6)
    True
    """
    for name, value in (("grids", grids), ("steps", steps)):
        if value < 1:
            raise UsageError(f"{name} is {value}", where="poisson_cycle", todo="Give a whole number of at least 1.")
    cycle = MgCycle([1] * grids, [steps] * grids, activation="identity", normalisation=False, upward=True, padding=0)
    laplacian = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    weighting = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 4
    zeros = 1.25 + 0.75 * torch.cos(torch.pi * (torch.arange(steps) + 0.5) / steps)
    with torch.no_grad():
        for operator in cycle.operators:
            cast(nn.Conv2d, operator).weight.copy_(laplacian)
        for level in cycle.smoothing:
            for step, zero in zip(cast(nn.ModuleList, level), zeros, strict=True):
                weight = cast(SmoothingStep, step).smoother.weight.zero_()
                weight[0, 0, 1, 1] = 1 / (4 * zero)
        for restriction, interpolation in zip(cycle.restrictions, cycle.interpolations, strict=True):
            cast(nn.Conv2d, restriction).weight.copy_(weighting)
            cast(nn.Conv2d, interpolation).weight.zero_()
    return cycle


class MgNet(nn.Module):
    """MgNet for images: f = σ(N(θ x)), the way down of a multigrid cycle, the mean over all pixels, a linear layer.

    Maps [batch, in_channels, height, width] to logits [batch, classes], for images of any size. The submodules are
    ``data``, which holds θ, ``cycle``, an ``MgCycle``, and ``output``. For f − A u in the place of u each smoothing
    step is a residual block with pre-activation, of which all on a grid share the kernel A. Convolutions are drawn as
    He et al. do, N(0, 2 / fan_out). Source: ``he2019mgnet``.

    Parameters
    ----------
    channels, steps
        As ``MgCycle`` takes them.
    in_channels, classes
        Channels of the images; number of logits.

    Raises
    ------
    UsageError
        A size below 1, unequal numbers of grids; when called: an input that is not [batch, in_channels, height, width]
        of floating-point numbers.

    Examples
    --------
    >>> model = MgNet([4, 8], [2, 1])
    >>> model(torch.zeros(5, 3, 8, 8)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([5, 10]), 2462)
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 64, 64, 64),
        steps: Sequence[int] = (2, 2, 2, 2),
        *,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels", self)
        self.cycle = MgCycle(channels, steps)
        self.data = nn.Sequential(
            OrderedDict(
                convolution=convolution(in_channels, channels[0], 3),
                normalisation=nn.BatchNorm2d(channels[0]),
                activation=nn.ReLU(),
            )
        )
        self.pooling = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels[-1], positive(classes, "classes", self))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, [batch, classes]."""
        check_images(x, self.in_channels, self)
        return cast(Tensor, self.output(self.flatten(self.pooling(self.cycle(self.data(x))))))


SPECIMENS = (
    Specimen(
        name="mgnet",
        title="MgNet",
        build=MgNet,
        inputs=values(3, 32, 32),
        parameters=668_874,
        formula="u ← u + σ(B σ(f − A u)) on each grid, u' = Π u and f' = R (f − A u) + A' u' to the next: with the "
        "Laplacian's weights and without σ it is a multigrid cycle for Poisson's equation.",
        source="he2019mgnet",
        pinned_by="tests/models/test_mgnet.py::test_with_weights_of_multigrid_it_is_a_v_cycle",
    ),
)
