"""Subjects that every instrument must bear, whatever it measures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from deepscope import Subject


def _seeded(make: Callable[[], Subject]) -> Callable[[], Subject]:
    def made() -> Subject:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make()

    return made


def _classes(n: int, classes: int = 4) -> torch.Tensor:
    return torch.arange(n) % classes


def mlp() -> Subject:
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return Subject(
        model, [(torch.randn(16, 12), _classes(16)), (torch.randn(5, 12), _classes(5))], functional.cross_entropy
    )


def convolutional() -> Subject:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3), nn.GELU(), nn.Flatten(), nn.Linear(12, 4),
    )  # fmt: skip
    return Subject(model, [(torch.randn(6, 1, 8, 8), _classes(6))] * 2, functional.cross_entropy)


class _Language(nn.Module):
    """Embedding, attention and a recurrent layer; the output projection is tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.recurrent = nn.LSTM(16, 16, batch_first=True)
        self.out = nn.Linear(16, 20, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.recurrent(self.block(self.embed(tokens)))
        return self.out(hidden)


def _token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def language() -> Subject:
    batches = []
    for n in (4, 2):
        tokens = torch.randint(0, 20, (n, 6))
        targets = torch.randint(0, 20, (n, 6))
        targets[:, -2:] = -100
        batches.append(({"tokens": tokens}, targets))
    return Subject(_Language(), batches, _token_loss, count=lambda targets: (targets != -100).sum())


class _TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(3, 16), nn.Linear(5, 16), nn.Linear(16, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.left(a) + self.right(b)))


def two_inputs() -> Subject:
    data = [((torch.randn(8, 3), torch.randn(8, 5)), torch.randn(8, 2)) for _ in range(2)]
    return Subject(_TwoInputs(), data, functional.mse_loss)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "mlp": _seeded(mlp),
    "convolutional": _seeded(convolutional),
    "language": _seeded(language),
    "two inputs": _seeded(two_inputs),
}
