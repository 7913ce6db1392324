"""Networks whose health is known exactly."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# The gradient goes through a dozen float32 operations of relative error 6e-8 each.
_TOLERANCE = 1e-5


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _batches(features: int) -> list[tuple[Tensor, Tensor]]:
    return [(_noise(16, features, seed=seed), _noise(16, 1, seed=100 + seed)) for seed in range(4)]


def _linear(inputs: int, outputs: int, *, gain: float, seed: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(gain * _noise(outputs, inputs, seed=seed) / math.sqrt(inputs))
        layer.bias.zero_()
    return layer


def _stack(activation: type[nn.Module], depth: int, *, gain: float) -> nn.Sequential:
    hidden = [part for seed in range(depth) for part in (_linear(16, 16, gain=gain, seed=seed), activation())]
    return nn.Sequential(*hidden, _linear(16, 1, gain=1.0, seed=depth))


def _subject(model: nn.Module, features: int = 16) -> Subject:
    return Subject(model, data=_batches(features), loss=nn.functional.mse_loss, name="known")


def _row(reading: Any, name: str) -> Any:
    return next(layer for layer in reading.layers if layer.name == name)


def _one_weight() -> Subject:
    """Y = 3x on x = 1, 2, 3, 4 with targets 0: L = mean 9x², dL/dw = 2·3·mean x² = 45, over w = 3: 15."""
    layer = nn.Linear(1, 1, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.fill_(3.0)
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    # Batches of 3 and 1: weighed by their length they give the mean of all four.
    return Subject(layer, data=[(x[:3], 0 * x[:3]), (x[3:], 0 * x[3:])], loss=nn.functional.mse_loss, name="known")


def _one_weight_holds(reading: Any) -> bool:
    (row,) = reading.layers
    # Batch gradients 28 and 96: √((3·(28 − 45)² + (96 − 45)²) / (1·4)) = √867.
    return (
        math.isclose(row.gradient_norm, 45, rel_tol=_TOLERANCE)
        and math.isclose(row.gradient_norm_stderr, math.sqrt(867), rel_tol=_TOLERANCE)
        and math.isclose(row.gradient_to_weight, 15, rel_tol=_TOLERANCE)
        and math.isclose(row.activation_mean, 7.5, rel_tol=_TOLERANCE)
        and math.isclose(row.activation_std, 3 * math.sqrt(1.25), rel_tol=_TOLERANCE)
    )


def _some_dead(dead: int) -> Subject:
    model = nn.Sequential(_linear(4, 8, gain=1.0, seed=1), nn.ReLU(), _linear(8, 1, gain=1.0, seed=2))
    with torch.no_grad():
        model[0].bias[:dead] = -100.0  # type: ignore[operator]
    return _subject(model, 4)


def _one_dead() -> Subject:
    # One of sixteen: below the share from which a finding speaks.
    model = _stack(nn.ReLU, 1, gain=1.4)
    with torch.no_grad():
        model[0].bias[0] = -100.0  # type: ignore[operator]
    return _subject(model)


def _constant() -> Subject:
    model = _stack(nn.Tanh, 2, gain=1.0)
    with torch.no_grad():
        model[4].weight.zero_()  # type: ignore[operator]
    return _subject(model)


def _saturated() -> Subject:
    # 6 ± 1: tanh is within 1e-3 of 1, but not yet the same number for every input.
    model = _stack(nn.Tanh, 2, gain=0.3)
    with torch.no_grad():
        model[0].bias.fill_(6.0)  # type: ignore[operator]
    return _subject(model)


class _Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def _nan_inside() -> Subject:
    return _subject(nn.Sequential(_linear(16, 16, gain=1.0, seed=0), _Root(), _linear(16, 1, gain=1.0, seed=1)))


KNOWN = (
    Known(name="one weight: the gradient by hand, over uneven batches", make=_one_weight, holds=_one_weight_holds),
    Known(
        name="one of sixteen ReLUs dead",
        make=_one_dead,
        holds=lambda reading: _row(reading, "1").dead_fraction == 1 / 16,
    ),
    Known(
        name="three of eight ReLUs dead",
        make=lambda: _some_dead(3),
        holds=lambda reading: _row(reading, "1").dead_fraction == 3 / 8,
    ),
    Known(
        name="ten He-initialised ReLU layers: healthy",
        make=lambda: _subject(_stack(nn.ReLU, 10, gain=math.sqrt(2))),
        holds=lambda reading: reading.profile.verdict == "healthy",
    ),
    Known(
        name="all ReLUs dead",
        make=lambda: _some_dead(8),
        holds=lambda reading: _row(reading, "1").dead_fraction == 1,
        fault="1",
    ),
    Known(
        name="ten sigmoid layers: vanishing",
        make=lambda: _subject(_stack(nn.Sigmoid, 10, gain=1.0)),
        holds=lambda reading: reading.profile.verdict == "vanishing",
        fault="0",
    ),
    Known(
        name="ten ReLU layers with weights seven times too large: exploding",
        make=lambda: _subject(_stack(nn.ReLU, 10, gain=7 * math.sqrt(2))),
        holds=lambda reading: reading.profile.verdict == "exploding",
        fault="0",
    ),
    Known(
        name="a last layer of zeros: constant output",
        make=_constant,
        holds=lambda reading: reading.output_constant is True,
        fault="4",
    ),
    Known(
        name="a saturated tanh",
        make=_saturated,
        holds=lambda reading: _row(reading, "1").saturated_fraction == 1,
        fault="1",
    ),
    Known(
        name="NaN made in the middle",
        make=_nan_inside,
        holds=lambda reading: _row(reading, "1").nonfinite_fraction > 0 and _row(reading, "0").nonfinite_fraction == 0,
        fault="1",
    ),
)
