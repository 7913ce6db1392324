"""Networks whose linear regions are known exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _linear(inputs: int, outputs: int, *, seed: int, bias: float | None = None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(_noise(outputs, inputs, seed=seed) / inputs**0.5)
        layer.bias.copy_(_noise(outputs, seed=100 + seed)) if bias is None else layer.bias.fill_(bias)
    return layer


def _subject(model: nn.Module, inputs: int) -> Subject:
    x = _noise(16, inputs, seed=7)
    return Subject(model, data=[(x[:12], x[:12, :1]), (x[12:], x[12:, :1])], name="known")


def _far_apart(model: nn.Module) -> Subject:
    # Lines meet within some hundreds of units of the origin, in the middle of these.
    x = torch.tensor([[0.0, 3000.0], [-2600.0, -1500.0], [2600.0, -1500.0]])
    return Subject(model, data=[(x, x[:, :1])], name="known")


def _general_position() -> Subject:
    return _far_apart(nn.Sequential(_linear(2, 12, seed=1), nn.ReLU(), _linear(12, 3, seed=2)))


def _equal_units() -> Subject:
    model = nn.Sequential(_linear(2, 12, seed=1), nn.ReLU(), _linear(12, 3, seed=2))
    with torch.no_grad():
        first: Any = model[0]
        # Six units twice, once turned round and longer: the same six lines.
        first.weight[6:], first.bias[6:] = -2 * first.weight[:6], -2 * first.bias[:6]
    return _far_apart(model)


def _two_layers(*, second_bias: float | None = None, first_bias: float | None = None) -> Subject:
    hidden = [_linear(5, 20, seed=1, bias=first_bias), nn.ReLU(), _linear(20, 20, seed=2, bias=second_bias), nn.ReLU()]
    return _subject(nn.Sequential(*hidden, _linear(20, 3, seed=3)), 5)


def _row(reading: Any, name: str) -> Any:
    return next(layer for layer in reading.layers if layer.name == name)


KNOWN = (
    Known(
        name="one layer of 12 units in general position: 1 + 12 + 66 regions",
        make=_general_position,
        holds=lambda reading: reading.count == 79 and reading.complete,
    ),
    Known(
        name="six units twice over: 1 + 6 + 15 regions",
        make=_equal_units,
        holds=lambda reading: reading.count == 22 and _row(reading, "0").units == 12,
    ),
    Known(
        name="no activation function: one region",
        make=lambda: _subject(nn.Sequential(_linear(5, 8, seed=1), _linear(8, 3, seed=2)), 5),
        holds=lambda reading: reading.count == reading.distinct_maps == 1 and reading.layers == (),
    ),
    Known(
        name="a first layer whose units are all open: only the second cuts, like a layer of its own",
        make=lambda: _two_layers(first_bias=100.0),
        holds=lambda reading: _row(reading, "0").cutting == 0 and _row(reading, "0").added == 0,
        fault="0",
    ),
    Known(
        name="a second layer of dead units: one linear map in each of many regions, and the same",
        make=lambda: _two_layers(second_bias=-100.0),
        holds=lambda reading: reading.count > 20 and reading.distinct_maps == 1 and _row(reading, "2").added == 0,
        fault="2",
    ),
)
