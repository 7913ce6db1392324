"""Labelled points for networks whose layers' topology is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope import Subject


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ring(n: int, seed: int = 0) -> Tensor:
    angles = 2 * math.pi * torch.rand(n, generator=generator(seed))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def clusters(n: int, classes: int = 3, d: int = 4, apart: float = 6.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % classes
    return torch.randn(n, d, generator=generator(seed)) + apart * torch.eye(classes, d)[labels], labels


def identity() -> nn.Module:
    return nn.Sequential(nn.Identity())


def subject(model: nn.Module, inputs: Tensor, targets: Tensor | None, batch: int = 64) -> Subject:
    return Subject(
        model,
        [
            (inputs[i : i + batch], None if targets is None else targets[i : i + batch])
            for i in range(0, len(inputs), batch)
        ],
        name="planted",
    )
