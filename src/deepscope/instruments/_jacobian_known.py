"""Networks whose Jacobians are known in closed form, and planted faults."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# A dozen products in float32, of relative error 6e-8 each, through up to sixteen layers.
_TOLERANCE = 1e-5


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _orthogonal(n: int, seed: int) -> Tensor:
    Q: Tensor = torch.linalg.qr(_noise(n, n, seed=seed)).Q
    return Q


def _subject(model: nn.Module) -> Subject:
    x = _noise(12, 6)
    return Subject(model, data=[(x[:8], x[:8, :1]), (x[8:], x[8:, :1])], name="known")


def _isometry() -> nn.Module:
    return nn.Sequential(*(_linear(_orthogonal(6, seed)) for seed in range(1, 6)))


def _isometry_holds(reading: Any) -> bool:
    """All singular values are 1, and so is the certified bound."""
    ones = [[each.chi, each.gain, each.largest, each.isometry, each.bound] for each in reading.layers]
    found = [*np.ravel(ones), *reading.singular_values.ravel(), reading.lipschitz_bound]
    return bool(np.allclose(found, 1.0, rtol=_TOLERANCE))


_VALUES = (5.0, 3.0, 0.5)


def _given_values() -> nn.Module:
    """Two linear layers whose product has three singular values."""
    left, right = _orthogonal(3, 1), _orthogonal(6, 2)[:3]
    return nn.Sequential(_linear(torch.tensor(_VALUES).diag() @ right), _linear(left))


def _given_values_hold(reading: Any) -> bool:
    values = bool(np.allclose(reading.singular_values, _VALUES, rtol=_TOLERANCE))
    first = reading.layers[0]
    chi = sum(value**2 for value in _VALUES) / 3
    return (
        values
        and math.isclose(first.chi, chi, rel_tol=_TOLERANCE)
        and math.isclose(reading.lipschitz_bound, 5.0, rel_tol=_TOLERANCE)
    )


def _chaotic() -> nn.Module:
    """Sixteen layers of tanh with weights far on the chaotic side."""
    layers: list[nn.Module] = []
    for seed in range(16):
        layers += [
            _linear(_noise(32, 6 if seed == 0 else 32, seed=seed) * 6 / (6 if seed == 0 else 32) ** 0.5),
            nn.Tanh(),
        ]
    return nn.Sequential(*layers, _linear(_noise(3, 32, seed=99) / 6))


def _ordered() -> nn.Module:
    """Sixteen layers of tanh with small weights: changes die out."""
    layers: list[nn.Module] = []
    for seed in range(16):
        n = 6 if seed == 0 else 32
        layer = nn.Linear(n, 32, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            layer.weight.copy_(_noise(32, n, seed=seed) * 0.5 / n**0.5)
            layer.bias.copy_(_noise(32, seed=100 + seed) * 0.3)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers, _linear(_noise(3, 32, seed=99) / 6))


def _drowned() -> nn.Module:
    """Make a layer whose bias is a million times what its weights make of the input."""
    layer = nn.Linear(8, 8, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(_noise(8, 8, seed=1) * 1e-6)
        layer.bias.fill_(1.0)
    return nn.Sequential(_linear(_noise(8, 6) / 6**0.5), nn.Tanh(), layer, nn.Tanh(), _linear(_noise(3, 8, seed=2)))


def _cut_off() -> nn.Module:
    return nn.Sequential(
        _linear(_noise(8, 6, seed=1)), nn.ReLU(), _linear(torch.zeros(8, 8)), nn.Tanh(), _linear(_noise(3, 8, seed=2))
    )


KNOWN = (
    Known(
        name="five orthogonal linear layers: every singular value is 1",
        make=lambda: _subject(_isometry()),
        holds=_isometry_holds,
    ),
    Known(
        name="two linear layers with given singular values",
        make=lambda: _subject(_given_values()),
        holds=_given_values_hold,
    ),
    Known(
        name="sixteen layers of tanh on the chaotic side: changes explode",
        make=lambda: _subject(_chaotic()),
        holds=lambda reading: reading.layers[-1].sensitivity_low > 1e2,
    ),
    Known(
        name="sixteen layers of tanh on the ordered side: changes vanish",
        make=lambda: _subject(_ordered()),
        holds=lambda reading: reading.layers[-1].sensitivity_high < 1e-3,
    ),
    Known(
        name="a layer whose bias drowns its small weights: changes vanish there",
        make=lambda: _subject(_drowned()),
        holds=lambda reading: reading.layers[0].sensitivity > 0.1 and reading.layers[2].sensitivity < 1e-5,
        fault="2",
    ),
    Known(
        name="a layer of zeros: nothing comes through",
        make=lambda: _subject(_cut_off()),
        holds=lambda reading: [each.gain == 0 for each in reading.layers] == [False, False, True, True, True],
        fault="2",
    ),
)
