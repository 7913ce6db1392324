"""Networks whose frequencies are known exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

_N = 64


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class _Root(nn.Module):
    """Is a number on the data, |x| = 1, and none where |x| < ½."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x**2 - 0.25)


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
    return layer


def _points() -> Tensor:
    return torch.linspace(-1, 1, _N)[:, None]


def _median_distance() -> float:
    x = _points()[:, 0].double().numpy()
    return float(np.median(np.abs(np.subtract.outer(x, x))[np.triu_indices(_N, 1)]))


def _wave(cycles: float) -> nn.Module:
    """Return a sine of so many cycles along a line of the median length."""
    return nn.Sequential(_linear(torch.tensor([[2 * math.pi * cycles / _median_distance()]])), _Sine())


def _subject(model: nn.Module, targets: Tensor | None = None) -> Subject:
    x = _points()
    with torch.no_grad():
        y = model(x) if targets is None else targets
    return Subject(model, data=[(x[:40], y[:40]), (x[40:], y[40:])], loss=nn.functional.mse_loss, name="known")


def _wave_holds(reading: Any) -> bool:
    """Hann's window lets a sine of whole cycles into its own frequency and those beside it; the error is 0."""
    spectrum = reading.output.spectrum
    return (
        # Single precision puts the points off by 1e-7 of 12 cycles of 2π, and the sine by as much.
        abs(reading.output.centroid - 6) < 0.01
        and spectrum[5:8].sum() > 0.999
        and reading.layers[0].centroid < 1e-9
        and all(band.e_low == 0 == band.e_high for band in reading.bands)
    )


def _straight_holds(reading: Any) -> bool:
    # Rounding in single precision, 6e-8 of the values, squared: 4e-15 of their variance, at up to 32 cycles.
    return all(layer.centroid < 1e-11 and layer.straight_share > 1 - 1e-12 for layer in reading.layers)


def _straight() -> Subject:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 1, generator=generator), torch.randn(2, 5, generator=generator)
    return _subject(nn.Sequential(_linear(first), _linear(second)))


def _constant() -> Subject:
    model = nn.Sequential(_linear(torch.tensor([[1.0]])), _Sine(), _linear(torch.tensor([[0.0]])))
    return _subject(model, torch.sin(2 * _points()))


def _between() -> Subject:
    x = torch.tensor([[-1.0], [1.0]]).repeat(_N // 2, 1)
    return Subject(nn.Sequential(_linear(torch.tensor([[1.0]])), _Root()), data=[(x, x)], name="known")


KNOWN = (
    Known(name="a sine of six cycles per line", make=lambda: _subject(_wave(6)), holds=_wave_holds),
    Known(name="two linear layers: nothing but straight lines", make=_straight, holds=_straight_holds),
    Known(
        name="a sine near the highest frequency that the points tell",
        make=lambda: _subject(_wave(29)),
        holds=lambda reading: reading.output.unresolved_share > 0.99,
        fault="1",
    ),
    Known(
        name="a root of what is positive on the data, and negative between",
        make=_between,
        holds=lambda reading: reading.layers[1].status == "not finite" and reading.layers[0].status == "ok",
        fault="1",
    ),
    Known(
        name="one answer for all samples of a smooth target",
        make=_constant,
        holds=lambda reading: all(
            math.isclose(band.e_low, 1) and math.isclose(band.e_high, 1) for band in reading.bands
        ),
        fault="",
    ),
)
