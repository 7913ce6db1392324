"""Sequences that can be predicted from one symbol some steps back, and no better than their entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LagSource:
    """x_t is x_{t−lag} + 1 modulo ``n_symbols`` with probability 1 − noise, and else any symbol; the first are any.

    Attributes
    ----------
    n_symbols
        K.
    lag
        How many steps back.
    noise
        ε.

    Examples
    --------
    >>> source = LagSource(8, 5, 0.2)
    >>> source.sequences(3, 12, torch.Generator().manual_seed(0)).shape, round(source.entropy, 3)
    (torch.Size([3, 12]), 0.804)
    """

    n_symbols: int
    lag: int
    noise: float

    @property
    def entropy(self) -> float:
        """Entropy of a symbol given those before it, from the lag on, in nats."""
        hit, miss = self._probabilities
        return -hit * math.log(hit) - (self.n_symbols - 1) * (miss * math.log(miss) if miss else 0.0)

    @property
    def _probabilities(self) -> tuple[float, float]:
        miss = self.noise / self.n_symbols
        return 1 - self.noise + miss, miss

    def sequences(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """Return [n, length] symbols."""
        drawn = torch.randint(self.n_symbols, (n, length), generator=generator)
        random = torch.rand(n, length, generator=generator) < self.noise
        for step in range(self.lag, length):
            expected = (drawn[:, step - self.lag] + 1) % self.n_symbols
            drawn[:, step] = torch.where(random[:, step], drawn[:, step], expected)
        return drawn

    def surprise(self, sequences: Tensor) -> float:
        """Return the mean −log probability of the symbols from the lag on, in nats: an estimate of the entropy."""
        hits = sequences[:, self.lag :] == (sequences[:, : -self.lag] + 1) % self.n_symbols
        hit, miss = (math.log(each) for each in self._probabilities)
        return float(torch.where(hits, hit, miss).double().mean().neg())

    def cross_entropy(self, logits: Tensor, sequences: Tensor) -> Tensor:
        """Return a model's mean −log probability of the symbols from the lag on.

        Logits [n, length, symbols] of the symbol after each.
        """
        predictions = logits[:, self.lag - 1 : -1]
        return functional.cross_entropy(predictions.flatten(0, 1), sequences[:, self.lag :].flatten())
