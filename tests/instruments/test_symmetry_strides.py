"""Strides, found by following a forward pass, against those that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.instruments._symmetry_strides import StrideTracker

PICTURE, SEQUENCE = (2, 4, 16, 16), (2, 4, 16)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.short = nn.Conv2d(4, 8, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.long(x) + self.short(x))


class Functional(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("module", "shape", "strides"),
    [
        (nn.Conv2d(4, 3, 3), PICTURE, (1, 1)),
        (nn.Conv2d(4, 3, 3, stride=(2, 3)), PICTURE, (2, 3)),
        (nn.Conv2d(4, 3, 5, dilation=2), PICTURE, (1, 1)),
        (nn.Sequential(nn.Conv2d(4, 3, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)), PICTURE, (4, 4)),
        (nn.Sequential(nn.Conv2d(4, 3, 5), nn.MaxPool2d(2), nn.Conv2d(3, 3, 5)), PICTURE, (2, 2)),
        (nn.AvgPool2d(2), PICTURE, (2, 2)),
        (nn.AdaptiveAvgPool2d(4), PICTURE, (4, 4)),
        (nn.ConvTranspose2d(4, 3, 2, stride=2), PICTURE, (0.5, 0.5)),
        (nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=2)), PICTURE, (2, 2)),
        (Residual(), PICTURE, (2, 2)),
        (Functional(lambda x: functional.max_pool2d(x, 2)[:, :, ::2]), PICTURE, (4, 2)),
        (nn.Conv1d(4, 3, 3, stride=4), SEQUENCE, (4,)),
        (nn.Sequential(nn.AvgPool1d(2), nn.MaxPool1d(2)), SEQUENCE, (4,)),
        (
            Functional(lambda x: functional.conv1d(x.mT.contiguous().mT, torch.ones(1, 4, 3), stride=2).mT),
            SEQUENCE,
            (2,),
        ),
    ],
    ids=str,
)
def test_strides_are_those_of_the_operations(module: nn.Module, shape: tuple[int, ...], strides: object) -> None:
    x = torch.randn(shape)
    tracker = StrideTracker(x, len(shape) - 2)
    with torch.no_grad(), tracker:
        out = module.eval()(x)
    assert tracker.of(out) == strides


def test_what_does_not_come_from_the_input_has_none() -> None:
    tracker = StrideTracker({"x": torch.ones(PICTURE)}, 2)
    with torch.no_grad(), tracker:
        made = torch.ones(3) + 1
    assert tracker.of(made) is None
