"""Small networks with data, and their curvature by torch itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional

from deepscope import Subject

F64 = torch.float64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def classes(n: int, c: int) -> Tensor:
    return torch.arange(n) * 7 % c


class Cell(nn.Module):
    """An LSTM cell that runs over three steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(2, 2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.out(state[0])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(x + self.attention(x, x, x)[0]).mean(1))


class Tied(nn.Module):
    """A language model whose output layer is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(5, 3), nn.Linear(3, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(self.embed(tokens))))


def mlp(activation: Callable[[], nn.Module] = nn.Tanh, widths: Sequence[int] = (3, 4, 4, 3)) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(3, 3),
    )  # fmt: skip


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def prepared(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a model in float64 with numbers of its own."""
    model.double()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(0.7 * noise(*parameter.shape, seed=100 * seed + index))
    return model


def classifier(model: nn.Module, *shape: int, n: int = 7, c: int = 3) -> Subject:
    """Return the model on n random samples in batches of 4 and what is left."""
    x, y = noise(n, *shape, seed=1), classes(n, c)
    return Subject(prepared(model), [(x[:4], y[:4]), (x[4:], y[4:])], functional.cross_entropy)


def language() -> Subject:
    """Batches of 3 and 1 sequences with 5 and 1 targets that count."""
    tokens = torch.tensor([[0, 1, 2], [3, 4, 0], [1, 1, 3], [2, 0, 4]])
    targets = torch.tensor([[1, -100, 3], [-100, -100, 2], [4, 0, -100], [-100, 1, -100]])
    data = [(tokens[:3], targets[:3]), (tokens[3:], targets[3:])]
    return Subject(prepared(Tied()), data, token_loss, count=lambda each: (each != -100).sum())


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "mlp": lambda: classifier(mlp(), 3),
    "cnn": lambda: classifier(cnn(), 1, 6, 6),
    "lstm cell": lambda: classifier(Cell(), 3, 2),
    "attention": lambda: classifier(Attention(), 3, 4, c=2),
    "tied": language,
}


def named(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}


def unflatten(model: nn.Module, vector: Tensor) -> dict[str, Tensor]:
    parts = named(model)
    pieces = torch.split(vector, [each.numel() for each in parts.values()])
    return {name: piece.view(each.shape) for (name, each), piece in zip(parts.items(), pieces, strict=True)}


def theta(model: nn.Module) -> Tensor:
    return torch.cat([each.reshape(-1) for each in named(model).values()])


def mean_loss(subject: Subject) -> Callable[[Tensor], Tensor]:
    """Return L(θ) as its definition has it: batch losses weighted by what they average over."""

    def loss(vector: Tensor) -> Tensor:
        total, terms = torch.zeros((), dtype=F64), 0.0
        for x, y in subject.data:
            count = float(subject.count(y)) if subject.count else float(len(y))
            outputs = functional_call(subject.model, unflatten(subject.model, vector), (x,))
            total, terms = total + count * subject.loss(outputs, y), terms + count
        return total / terms

    return loss


def dense_hessian(subject: Subject) -> Tensor:
    """Return ∂²L/∂θ² by torch, reverse mode twice."""
    subject.model.eval()
    return jacrev(jacrev(mean_loss(subject)))(theta(subject.model)).detach()


def differences(subject: Subject, h: float = 1e-3) -> Tensor:
    """Return ∂²L/∂θ² by differences of the gradient, of fourth order in h: no second derivative of torch is used."""
    subject.model.eval()
    at, gradient = theta(subject.model), grad(mean_loss(subject))
    steps = h * torch.eye(len(at), dtype=F64)
    near = torch.stack([gradient(at + e) - gradient(at - e) for e in steps])
    far = torch.stack([gradient(at + 2 * e) - gradient(at - 2 * e) for e in steps])
    return ((8 * near - far) / (12 * h)).detach()


def jacobian(subject: Subject) -> Tensor:
    """Return ∂z/∂θ of all samples, [samples, outputs, n]."""
    subject.model.eval()
    x = torch.cat([x for x, _ in subject.data])
    rows = jacrev(lambda v: functional_call(subject.model, unflatten(subject.model, v), (x,)))(theta(subject.model))
    return rows.flatten(1, -2).detach()
