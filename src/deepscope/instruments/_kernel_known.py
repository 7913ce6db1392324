"""Networks whose tangent kernel is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# Sums of a dozen products in float32, of relative error 6e-8 each, through two layers.
_TOLERANCE = 1e-5


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _linear(inputs: int, outputs: int, *, seed: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(_noise(outputs, inputs, seed=seed) / inputs**0.5)
        if bias:
            layer.bias.zero_()
    return layer


def _subject(model: nn.Module) -> Subject:
    x = _noise(16, 5)
    return Subject(model, data=[(x[:12], x[:12, :1]), (x[12:], x[12:, :1])], name="known")


def _close(reading: Any, expected: Tensor) -> bool:
    return bool(np.allclose(reading.gram, expected.numpy(), rtol=_TOLERANCE, atol=_TOLERANCE * float(expected.max())))


def _one_layer_holds(reading: Any) -> bool:
    """F = Wx + b: K = (x·x′ + 1) δ_ab."""
    x = _noise(16, 5)
    return _close(reading, torch.einsum("ij,ab->ijab", x @ x.T + 1, torch.eye(3)))


def _two_layers() -> nn.Module:
    return nn.Sequential(_linear(5, 4, seed=1, bias=False), _linear(4, 3, seed=2, bias=False))


def _two_layers_hold(reading: Any) -> bool:
    """F = W₂W₁x: K = x·x′ (W₂W₂ᵀ)_ab + (W₁x·W₁x′) δ_ab."""
    x, model = _noise(16, 5), _two_layers()
    first, second = (weight.detach() for weight in model.parameters())
    hidden = x @ first.T
    lower = torch.einsum("ij,ab->ijab", x @ x.T, second @ second.T)
    return _close(reading, lower + torch.einsum("ij,ab->ijab", hidden @ hidden.T, torch.eye(3)))


def _dead() -> nn.Module:
    model = nn.Sequential(_linear(5, 8, seed=1), nn.ReLU(), _linear(8, 3, seed=2))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # type: ignore[operator]
    return model


def _cut_off() -> nn.Module:
    model = nn.Sequential(_linear(5, 8, seed=1), nn.ReLU(), _linear(8, 8, seed=2), nn.ReLU(), _linear(8, 3, seed=3))
    with torch.no_grad():
        model[4].weight.zero_()  # type: ignore[operator]
    return model


KNOWN = (
    Known(
        name="one linear layer: K = x·x′ + 1",
        make=lambda: _subject(_linear(5, 3, seed=1)),
        holds=_one_layer_holds,
    ),
    Known(name="two linear layers, in closed form", make=lambda: _subject(_two_layers()), holds=_two_layers_hold),
    Known(
        name="all hidden units dead: the kernel is the last bias's, 1 everywhere",
        make=lambda: _subject(_dead()),
        holds=lambda reading: np.array_equal(reading.summed, np.full((16, 16), 3.0)),
        fault="",
    ),
    Known(
        name="a last layer of zeros: nothing before it moves the outputs",
        make=lambda: _subject(_cut_off()),
        holds=lambda reading: [layer.share == 0 for layer in reading.layers] == [True, True, False],
        fault="0",
    ),
)
