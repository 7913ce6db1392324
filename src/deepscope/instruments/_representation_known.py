"""Networks whose representations are known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

_N, _CLASSES = 300, 4


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _orthogonal(d: int, seed: int) -> Tensor:
    turned: Tensor = torch.linalg.qr(torch.randn(d, d, generator=_generator(seed))).Q
    return turned


def _labels() -> Tensor:
    return torch.arange(_N) % _CLASSES


def _subject(model: nn.Module, x: Tensor) -> Subject:
    y = _labels()
    return Subject(model, data=[(x[:160], y[:160]), (x[160:], y[160:])], name="known")


def _rotations() -> Subject:
    """Return layers that turn a plane of points about: all represent it alike, in two dimensions."""
    plane = torch.rand(_N, 2, generator=_generator()) @ torch.randn(2, 12, generator=_generator(1))
    return _subject(nn.Sequential(*(_linear(_orthogonal(12, seed)) for seed in (2, 3, 4))), plane)


def _rotations_hold(reading: Any) -> bool:
    table = reading.table()
    # Kernels in single precision, summed over 160² pairs: 6e-8 a sum, and 1e-5 is far above what comes of them.
    alike = bool(np.allclose(reading.cka, 1, atol=1e-5) and np.allclose(reading.procrustes, 0, atol=1e-3))
    two = (table["intrinsic_dimension_low"] < 2) & (table["intrinsic_dimension_high"] > 2)
    return (
        alike
        and bool(two.all())
        and bool((table["effective_rank"] <= 2 + 1e-6).all())
        and reading.neighbours.min() == 1
    )


def _corners() -> Tensor:
    """Return the corners of a regular simplex, [classes, classes]."""
    return torch.eye(_CLASSES) - 1 / _CLASSES


def _simplex() -> Subject:
    """Return a layer that is given the corners of a simplex, whose weights are these corners."""
    near = _corners()[_labels()] + 1e-3 * torch.randn(_N, _CLASSES, generator=_generator(5))
    return _subject(nn.Sequential(nn.Identity(), _linear(_corners())), near)


def _simplex_holds(reading: Any) -> bool:
    found = reading.collapse
    # Noise of 1e-3 against means of length 0.87: 3e-6 within for 0.75/4 between, and means of 75 samples each.
    small = (
        found.within < 1e-4,
        found.norms < 1e-2,
        found.angles < 1e-2,
        found.duality < 1e-2,
        found.disagreement == 0,
    )
    return all(small) and bool((reading.table()["probe_accuracy"] == 1).all()) and reading.head == "1"


def _forgetful() -> Subject:
    """Return a network whose second layer lets pass only what does not tell of the classes."""
    x = torch.randn(_N, 16, generator=_generator(6))
    x[:, :_CLASSES] += 4 * torch.eye(_CLASSES)[_labels()]
    keeps = torch.eye(16)
    keeps[:_CLASSES] = 0
    return _subject(nn.Sequential(_linear(_orthogonal(16, 7)), _linear(keeps @ _orthogonal(16, 7).T), nn.Tanh()), x)


KNOWN = (
    Known(name="three rotations of a plane: alike, of two dimensions", make=_rotations, holds=_rotations_hold),
    Known(name="the corners of a simplex: complete collapse", make=_simplex, holds=_simplex_holds),
    Known(
        name="a layer that forgets the classes",
        make=_forgetful,
        holds=lambda reading: reading.layers[0].probe_low > 0.9 > 0.5 > reading.layers[1].probe_high,
        fault="1",
    ),
)
