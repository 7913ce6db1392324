"""Networks whose symmetries are known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject, seeded_generators


def _subject(make: Callable[[], nn.Module], *shape: int) -> Subject:
    with seeded_generators(0):
        model = make()
    x = torch.randn(24, *shape, generator=torch.Generator().manual_seed(1))
    return Subject(model, data=[(x[:16], x[:16, 0]), (x[16:], x[16:, 0])], name="known")


def _pooled(first: nn.Module) -> nn.Module:
    """Cyclic convolutions, then the mean over all positions: what a cyclic shift moves, the mean forgets."""
    second = nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular")
    return nn.Sequential(first, nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _cyclic() -> nn.Module:
    return _pooled(nn.Conv2d(1, 6, 3, padding=1, padding_mode="circular"))


def _unbiased() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False))


def _odd() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16, bias=False), nn.Tanh(), nn.Linear(16, 3, bias=False))


class _DeepSets(nn.Module):
    """ρ(Σ φ(x_i)), ``zaheer2017deep``: whatever the order of the x_i."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        self.all = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.all(self.each(x).sum(dim=1))
        return out


class _Mirrored(nn.Conv2d):
    """A cyclic convolution whose filters begin as their own mirror images; nothing keeps them so."""

    def __init__(self) -> None:
        super().__init__(1, 6, 3, padding=1, padding_mode="circular")

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            for axis in (-1, -2):
                self.weight.copy_((self.weight + self.weight.flip(axis)) / 2)


class _Head(nn.Sequential):
    """A mirrored convolution and the mean over positions."""

    def __init__(self) -> None:
        super().__init__(_Mirrored(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _broken() -> nn.Module:
    model = _Head()
    with torch.no_grad():
        model.get_parameter("0.weight").add_(torch.randn(6, 1, 3, 3))
    return model


def _constant() -> nn.Module:
    model = _cyclic()
    with torch.no_grad():
        model.get_parameter("2.weight").zero_()
    return model


def _only(*symmetric: str) -> Callable[[Any], bool]:
    """Say of which families the network is symmetric to float accuracy, and of no others."""
    return lambda reading: {family.name for family in reading.families if family.output.is_exact} == set(symmetric)


KNOWN = (
    Known(
        name="cyclic convolutions and a mean over positions: invariant under cyclic shifts",
        make=lambda: _subject(_cyclic, 1, 8, 8),
        holds=_only("translations"),
    ),
    Known(
        name="rectifiers without biases: f(cx) = c f(x)",
        make=lambda: _subject(_unbiased, 6),
        holds=_only("scalings"),
    ),
    Known(name="tanh without biases: f(−x) = −f(x)", make=lambda: _subject(_odd, 6), holds=_only("signs")),
    Known(
        name="Deep Sets: invariant under permutations",
        make=lambda: _subject(_DeepSets, 5, 3),
        # A cyclic shift is a permutation too.
        holds=_only("translations", "permutations"),
    ),
    Known(
        name="filters that are their own mirror images",
        make=lambda: _subject(_Head, 1, 8, 8),
        holds=_only("translations", "flips"),
    ),
    Known(
        name="filters that begin as their own mirror images, and were moved from it",
        make=lambda: _subject(_broken, 1, 8, 8),
        holds=_only("translations"),
        fault="0",
    ),
    Known(
        name="a layer of zeros: the same output whatever the input",
        make=lambda: _subject(_constant, 1, 8, 8),
        holds=lambda reading: reading.error is None,
        fault="",
    ),
)
