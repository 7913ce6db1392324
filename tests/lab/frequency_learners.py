"""Networks that learn a sum of waves, planted with equal amplitudes and random phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.instruments import FrequencyOrder
from deepscope.lab import watch_frequencies
from deepscope.subject import Subject

FREQUENCIES = (1.0, 3.0, 5.0, 7.0)
#: The same in cycles per unit of x, which runs over 2π.
WAVES = [k / (2 * math.pi) for k in FREQUENCIES]
_POINTS, _WIDTH = 64, 100
#: Of Adam. At 5e-4 its instabilities throw the lowest frequency's error back to the threshold in a few trainings, and
#: rounding decides in which; here it stays far below, as ``test_frequency_order.py`` asserts of twenty seeds.
_RATE = 2e-4


def waves_target(seed: int) -> tuple[Tensor, Tensor]:
    """Return even points of [−π, π) and Σ_k sin(kx + φ_k) there, each [64, 1], in double precision."""
    x = (torch.arange(_POINTS, dtype=torch.float64)[:, None] / _POINTS * 2 - 1) * math.pi
    phases = np.random.default_rng(seed).uniform(0, 2 * math.pi, len(FREQUENCIES))
    return x, sum(torch.sin(k * x + phase) for k, phase in zip(FREQUENCIES, phases.tolist(), strict=True))


class Embedding(nn.Module):
    """Amplitude times cos kx and sin kx of each frequency: an input in which some are louder than others."""

    def __init__(self, amplitudes: Sequence[float]) -> None:
        super().__init__()
        self.amplitudes = torch.tensor(amplitudes, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        angles = x * torch.tensor(FREQUENCIES)
        return torch.cat([self.amplitudes * angles.cos(), self.amplitudes * angles.sin()], dim=1)


def learn(
    seed: int,
    *,
    steps: int,
    embedding: Embedding | None = None,
    seen: Callable[[Tensor], Tensor] = lambda x: x,
) -> FrequencyOrder:
    """Train a tanh network of 3 × 100 by full-batch Adam, and watch the planted frequencies.

    Parameters
    ----------
    seed
        Of phases and weights.
    steps
        Of training.
    embedding
        Before the first layer.
    seen
        What the network is shown in place of x.
    """
    x, y = (each.float() for each in waves_target(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = [nn.Linear(1, _WIDTH)] if embedding is None else [embedding, nn.Linear(2 * len(FREQUENCIES), _WIDTH)]
        hidden = [part for _ in range(2) for part in (nn.Tanh(), nn.Linear(_WIDTH, _WIDTH))]
        model = nn.Sequential(*first, *hidden, nn.Tanh(), nn.Linear(_WIDTH, 1))
    subject = Subject(model, [(x, y)], functional.mse_loss, forward=lambda model, x: model(seen(x)))
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    with watch_frequencies(subject, waves=WAVES, every=10) as watching:
        for _ in range(steps):
            optimizer.zero_grad()
            functional.mse_loss(subject.predict(x), y).backward()
            optimizer.step()
            watching.step()
    return watching.result
