"""Networks of which it is known what their layers hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

_N = 240


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _linear(weight: list[list[float]], bias: float = 0.0) -> nn.Linear:
    matrix = torch.tensor(weight)
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(matrix)
        layer.bias.fill_(bias)
    return layer


def _classes() -> tuple[Tensor, Tensor]:
    """Two classes 20 standard deviations apart in the first of two coordinates."""
    y = torch.arange(_N // 2) % 2
    x = _normal(_N // 2, 2, seed=0)
    x[:, 0] += 20.0 * y
    return x, y


def _classified(*layers: nn.Module) -> Subject:
    x, y = _classes()
    half = _N // 4
    return Subject(nn.Sequential(*layers), data=[(x[:half], y[:half]), (x[half:], y[half:])], name="known")


def _gaussian() -> Subject:
    """Return a linear unit whose target is correlated with it by 0.9: 1.198 bits."""
    x, noise = _normal(_N, 1, seed=1), _normal(_N, 1, seed=2)
    return Subject(_linear([[2.0]]), data=[(x, 0.9 * x + 0.19**0.5 * noise)], name="known")


def _gaussian_holds(reading: Any) -> bool:
    (layer,) = reading.layers
    # Its standard deviation over draws of 250 samples is 0.11, its bias 0.05.
    found = abs(layer.labels_ksg.bits - 1.198) < 0.38 and layer.labels_ksg.beats_null
    return bool(found and layer.local_rank == 1 and layer.inputs_truth.startswith("infinite"))


def _separated_holds(reading: Any) -> bool:
    first, last = reading.layers
    # Singular values 3 and 4, then one: (9 + 16)² / (81 + 256).
    ranks = abs(first.local_rank - 625 / 337) < 1e-4 and abs(last.local_rank - 1) < 1e-4
    return bool(ranks and all(abs(each.labels_ksg.bits / each.labels_ksg.ceiling - 1) < 1e-9 for each in (first, last)))


KNOWN = (
    Known(
        name="two classes far apart, and a layer of singular values 3 and 4",
        make=lambda: _classified(_linear([[3.0, 0.0], [0.0, 4.0]]), _linear([[1.0, 0.0]])),
        holds=_separated_holds,
    ),
    Known(name="a Gaussian pair of correlation 0.9", make=_gaussian, holds=_gaussian_holds),
    Known(
        name="a rectifier that never opens",
        make=lambda: _classified(_linear([[1.0, 0.0], [0.0, 1.0]], bias=-1000.0), nn.ReLU(), _linear([[1.0, 1.0]])),
        holds=lambda reading: (
            [each.local_rank for each in reading.layers] == [2, 0, 0]
            and all(each.labels_ksg.bits < each.labels_ksg.null_high + 1e-9 for each in reading.layers[1:])
        ),
        fault="1",
    ),
    Known(
        name="a layer that keeps the coordinate without the classes",
        make=lambda: _classified(_linear([[1.0, 0.0], [0.0, 1.0]]), _linear([[0.0, 1.0]])),
        holds=lambda reading: (
            reading.layers[0].labels_ksg.beats_null
            and not reading.layers[1].labels_ksg.beats_null
            and any("nothing is found of the labels" in each.message for each in reading.findings())
        ),
    ),
)
