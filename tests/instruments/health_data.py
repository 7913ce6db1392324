"""What the tests of health measure, and how they look it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.instruments import Health


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def data(
    features: int, *, sizes: tuple[int, ...] = (16, 16), classes: int = 3, dtype: torch.dtype = torch.float32
) -> Any:
    labels = torch.arange(max(sizes)) % classes
    return [(noise(size, features, seed=index, dtype=dtype), labels[:size]) for index, size in enumerate(sizes)]


def row(reading: Health, name: str) -> Any:
    (found,) = [layer for layer in reading.layers if layer.name == name]
    return found


def problems(reading: Health, severity: str = "problem") -> list[tuple[str, str]]:
    return [(found.where, found.message) for found in reading.findings() if found.severity == severity]
