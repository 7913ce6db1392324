"""Networks on points whose topology is known."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

_SAMPLES = 320


def _matrix(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _circle_and_disc() -> tuple[Tensor, Tensor]:
    """Draw points of a circle, class 0, and of a disc far from it, class 1."""
    generator = torch.Generator().manual_seed(0)
    angles = 2 * math.pi * torch.rand(_SAMPLES, generator=generator, dtype=torch.float64)
    classes = torch.arange(_SAMPLES) % 2
    radii = torch.rand(_SAMPLES, generator=generator, dtype=torch.float64).sqrt().where(classes == 1, 1.0)
    points = torch.stack([radii * angles.cos() + 6 * classes, radii * angles.sin()], dim=1)
    return points.float(), classes


def _two_clusters() -> tuple[Tensor, Tensor]:
    """Draw normal points around (±4, 0), by class."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(_SAMPLES) % 2
    points = torch.randn(_SAMPLES, 2, generator=generator)
    return points + torch.stack([8.0 * classes - 4, torch.zeros(_SAMPLES)], dim=1), classes


def _three_clusters_in_two_classes() -> tuple[Tensor, Tensor]:
    points, classes = _two_clusters()
    half = torch.arange(_SAMPLES) % 4 == 0
    return points + 40 * half[:, None], classes


def _subject(data: tuple[Tensor, Tensor], *layers: nn.Module) -> Subject:
    inputs, classes = data
    half = _SAMPLES // 2
    return Subject(
        nn.Sequential(*layers), data=[(inputs[:half], classes[:half]), (inputs[half:], classes[half:])], name="known"
    )


def _turned() -> nn.Linear:
    angle = 0.3
    rows = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return _matrix(3 * torch.tensor(rows))


def _seen_from_the_side(reading: Any) -> bool:
    """Whether a circle is a loop and its shadow on a line none, and a disc has none from the start."""
    before, after = reading.betti["0"], reading.betti["1"]
    return bool(before == {"0": (1, 1), "1": (1, 0)} and after == {"0": (1, 0), "1": (1, 0)})


KNOWN = (
    Known(
        name="a circle and a disc, turned, then seen from the side: the loop is there, then gone",
        make=lambda: _subject(_circle_and_disc(), _turned(), _matrix(torch.tensor([[1.0, 0.0]]))),
        holds=_seen_from_the_side,
    ),
    Known(
        name="a class in two clusters has two parts, one in one cluster has one",
        make=lambda: _subject(_three_clusters_in_two_classes(), _turned()),
        holds=lambda reading: reading.betti["0"] == {"0": (2, 0), "1": (1, 0)},
    ),
    Known(
        name="a layer of zeros: every class is one point",
        make=lambda: _subject(_two_clusters(), _turned(), _matrix(torch.zeros(3, 2)), nn.Tanh()),
        holds=lambda reading: reading.betti["1"] == {"0": (1, 0), "1": (1, 0)},
        fault="1",
    ),
    Known(
        name="a last layer that sees only what classes have in common: they are mixed",
        make=lambda: _subject(
            _two_clusters(), _matrix(3 * torch.eye(2)), _matrix(torch.tensor([[0.0, 1.0]])), _matrix(-torch.ones(1, 1))
        ),
        holds=lambda reading: reading.separation["0"].p_value < 1e-4 and reading.separation["2"].p_value > 0.05,
    ),
)
