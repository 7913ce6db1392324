"""Networks of the regularising and normalising layers: every instrument takes them, and they keep to their samples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from contract import behaves, examined
from torch import nn

from deepscope.training import (
    BatchNorm2d,
    ConcreteDropout,
    DropBlock2d,
    DropConnect,
    Dropout2d,
    GaussianDropout,
    LayerNorm,
    SequenceDropout,
    VariationalLinear,
    VariationalRecurrence,
    Zoneout,
    spectral_norm,
    weight_norm,
)

pytestmark = pytest.mark.verify


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        DropBlock2d(0.1, block=2),
        BatchNorm2d(4),
        nn.ReLU(),
        Dropout2d(0.2),
        nn.Flatten(),
        DropConnect(4 * 36, 12, 0.3),
        ConcreteDropout(0.2),
        GaussianDropout(0.2),
        VariationalLinear(12, 6),
        LayerNorm(6),
        spectral_norm(nn.Linear(6, 5)),
        weight_norm(nn.Linear(5, 4)),
    )


def sequences() -> nn.Module:
    return nn.Sequential(SequenceDropout(0.2), VariationalRecurrence(nn.LSTMCell(3, 4)), Zoneout(nn.GRUCell(4, 5)))


@pytest.mark.parametrize(("make", "shape"), [(images, (12, 1, 8, 8)), (sequences, (8, 5, 3))])
def test_every_instrument_takes_it(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, other, x = make(), make(), torch.randn(shape)
    behaves(model, other, x)
    examined(make(), x)
