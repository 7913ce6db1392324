"""Trainings to be watched, and probes with a clock that the tests turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from deepscope.lab import TrainingWatch
from deepscope.lab._overhead import OverheadBudget
from deepscope.subject import Subject, capture_generators

LOSS = nn.functional.cross_entropy


class Clock:
    """Stands still unless it is turned."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Own:
    """A probe that does what it is told."""

    def __init__(self, do: Callable[[Subject, torch.Generator], Any], name: str = "own") -> None:
        self.name, self._do = name, do

    def measure(self, subject: Subject, generator: torch.Generator) -> Any:
        return self._do(subject, generator)


def batches(seed: int, count: int = 1, size: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make batches of something that can be learnt: where the largest of the first three inputs stands."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(size, 6, generator=generator) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def network() -> nn.Sequential:
    """Make one with all that a measurement could disturb: batch norm, dropout, weights that are tied and frozen."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    model[4].bias.requires_grad_(False)
    return model


def watching(
    model: nn.Module, probes: list[Any], *, clock: Clock | None = None, overhead: float = 1e9, **changed: Any
) -> TrainingWatch:
    options = {"every": 2, "optimizer": None, "batch_size": None, "seed": 0, **changed}
    subject = Subject(model, batches(7, count=2), LOSS)
    return TrainingWatch(subject, probes, OverheadBudget(overhead, clock or Clock()), **options)


def train(
    watch: Callable[[nn.Module, torch.optim.Optimizer], TrainingWatch] | None = None, steps: int = 7
) -> dict[str, Any]:
    """Train the network, watched or not, and return everything about it that must be the same in both cases."""
    model = network()
    model[6].eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    torch.manual_seed(3), random.seed(3), np.random.seed(3)  # noqa: NPY002
    seen: dict[str, Any] = {"losses": [], "drawn": []}

    def run(step: Callable[[torch.Tensor], None]) -> None:
        for inputs, targets in batches(5, count=steps):
            optimizer.zero_grad()
            loss = LOSS(model(inputs), targets)
            loss.backward()
            optimizer.step()
            step(loss)
            seen["losses"].append(loss.item())
            seen["drawn"].append((random.random(), np.random.random(), torch.rand(()).item()))  # noqa: NPY002

    try:
        if watch is None:
            run(lambda loss: None)
        else:
            with watch(model, optimizer) as watched:
                run(watched.step)
    except KeyboardInterrupt:
        seen["interrupted"] = True
    return {
        **seen,
        "parameters": {name: p.detach().clone() for name, p in model.named_parameters()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "trained": {name: p.requires_grad for name, p in model.named_parameters()},
        "buffers": {name: b.clone() for name, b in model.named_buffers()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "optimizer": optimizer.state_dict()["state"],
        "generators": capture_generators(),
    }


def same(one: Any, other: Any) -> bool:
    """Equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.detach().contiguous().numpy().tobytes() == other.detach().contiguous().numpy().tobytes()
        )
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other
