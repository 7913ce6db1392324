"""What the tests of landscapes measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope import Subject


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def seeded(make: Callable[[], nn.Module], seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype)


def mlp(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    return seeded(
        lambda: nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3)), seed, dtype
    )


def batches(dtype: torch.dtype = torch.float64, sizes: tuple[int, ...] = (9, 4)) -> list[tuple[Tensor, Tensor]]:
    return [(noise(n, 6, seed=n, dtype=dtype), torch.arange(n) % 3) for n in sizes]


def classifier(seed: int = 0, dtype: torch.dtype = torch.float64) -> Subject:
    return Subject(mlp(seed, dtype), batches(dtype), functional.cross_entropy)


def with_values(model: nn.Module, values: Mapping[str, Any]) -> nn.Module:
    """Return a copy of a model with other parameters and buffers, written in the plainest way."""
    import copy

    other = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, tensor in (*other.named_parameters(), *other.named_buffers()):
            if name in values:
                tensor.copy_(values[name])
    return other


def naive_loss(model: nn.Module, subject: Subject) -> float:
    """Return the mean loss over all terms, batch after batch."""
    total = terms = 0.0
    with torch.no_grad():
        for inputs, targets in subject.data:
            count = float(subject.count(targets)) if subject.count is not None else float(len(targets))
            total += count * float(subject.loss(model(inputs), targets))
            terms += count
    return total / terms


def moved(subject: Subject, *steps: tuple[float, Mapping[str, Tensor]]) -> nn.Module:
    """Return a copy of the subject's model, moved by factors times directions."""
    values = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    for factor, direction in steps:
        for name, step in direction.items():
            values[name] = values[name] + factor * step
    return with_values(subject.model, values)
