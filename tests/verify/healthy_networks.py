"""Twenty small networks of many kinds that nothing is wrong with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class _Recurrent(nn.Module):
    """Reads the image row by row."""

    def __init__(self, cell: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell, self.out = cell(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.cell(x.squeeze(1))
        return self.out(hidden[:, -1])


class _Attention(nn.Module):
    """A transformer encoder over the image's rows, with learnt positions."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(8, 32), nn.Parameter(0.02 * torch.randn(8, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x.squeeze(1)) + self.position).mean(1))


class _Functional(nn.Module):
    """No activation modules: everything through torch's functions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 96), nn.Linear(96, 48), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.relu(self.a(x.flatten(1)))
        return self.c(torch.tanh(self.b(hidden)))


def _mlp(activation: Callable[[], nn.Module], widths: tuple[int, ...], norm: Callable[[int], nn.Module] | None = None,
         dropout: float = 0.0, init: Callable[[Tensor], Tensor] | None = None) -> nn.Module:  # fmt: skip
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in zip((64, *widths), widths, strict=False):
        layers += [nn.Linear(n_in, n_out), *([norm(n_out)] if norm else []), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    layers.append(nn.Linear(widths[-1], 10))
    if init is not None:
        for layer in layers:
            if isinstance(layer, nn.Linear):
                init(layer.weight)
    return nn.Sequential(*layers)


def _convolutional(
    activation: Callable[[], nn.Module], *, norm: bool = False, pool: Callable[[int], nn.Module] = nn.MaxPool2d
) -> nn.Module:
    def block(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, padding=1), *([nn.BatchNorm2d(n_out)] if norm else []), activation()]

    return nn.Sequential(*block(1, 16), pool(2), *block(16, 32), pool(2), nn.Flatten(), nn.Linear(128, 10))


def _residual() -> nn.Module:
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), _Residual(16), _Residual(16), *head)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    "relu": partial(_mlp, nn.ReLU, (64, 32)),
    "relu deep": partial(_mlp, nn.ReLU, (64,) * 5, init=nn.init.kaiming_normal_),
    "relu wide": partial(_mlp, nn.ReLU, (512,)),
    "tanh": partial(_mlp, nn.Tanh, (64, 48, 32), init=nn.init.xavier_uniform_),
    "sigmoid shallow": partial(_mlp, nn.Sigmoid, (64,)),
    "gelu": partial(_mlp, nn.GELU, (96, 48)),
    "silu": partial(_mlp, nn.SiLU, (96, 48)),
    "leaky": partial(_mlp, nn.LeakyReLU, (64, 64)),
    "elu dropout": partial(_mlp, nn.ELU, (128, 64), dropout=0.3),
    "batch norm": partial(_mlp, nn.ReLU, (64, 64, 64), norm=nn.BatchNorm1d),
    "layer norm": partial(_mlp, nn.ReLU, (64, 64, 64), norm=nn.LayerNorm),
    "orthogonal": partial(_mlp, nn.ReLU, (64, 64), init=nn.init.orthogonal_),
    "convolutional": partial(_convolutional, nn.ReLU),
    "convolutional batch norm": partial(_convolutional, nn.GELU, norm=True, pool=nn.AvgPool2d),
    "residual": _residual,
    "lstm": partial(_Recurrent, nn.LSTM),
    "gru": partial(_Recurrent, nn.GRU),
    "transformer": partial(_Attention, norm_first=True),
    "functional": _Functional,
}
