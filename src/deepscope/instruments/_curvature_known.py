"""Networks whose curvature is known exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# Products go through a dozen float32 operations of relative error 6e-8 each, eigenvalues add their rounding: 1e-5.
_TOLERANCE = 1e-4


class _Two(nn.Module):
    """f(x) = a·x₁ + b·x₂, or a·b·x for the saddle."""

    def __init__(self, a: float, b: float, *, product: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([a])), nn.Parameter(torch.tensor([b]))
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.b * x[:, :1] if self.product else self.a * x[:, :1] + self.b * x[:, 1:]


def _regression() -> Subject:
    """H = 2·XᵀX/n = diag(8, 2): batches of 2 and 1 must weigh as three samples."""
    x = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, math.sqrt(3.0)]])
    data = [(x[:2], torch.ones(2, 1)), (x[2:], torch.ones(1, 1))]
    return Subject(_Two(1.0, 1.0, product=False), data, nn.functional.mse_loss, name="known")


def _regression_holds(reading: Any) -> bool:
    # XᵀX/3 = [[4, 2/√3], [2/√3, 1]]: trace 5, determinant 4 − 4/3.
    root = math.sqrt(25 - 4 * (4 - 4 / 3))
    expected = np.array([5 + root, 5 - root])
    return (
        np.allclose(reading.eigenvalues, expected, rtol=_TOLERANCE)
        and math.isclose(reading.trace, 10, rel_tol=_TOLERANCE)
        and reading.trace_stderr == 0
        and reading.negative.high < 0.5
    )


def _saddle() -> Subject:
    """L = (ab·x − t)² at a = b = 0 with x = 1, t = 1: H = [[0, −2], [−2, 0]], eigenvalues ±2."""
    data = [(torch.ones(4, 1), torch.ones(4, 1))]
    return Subject(_Two(0.0, 0.0, product=True), data, nn.functional.mse_loss, name="known")


def _saddle_holds(reading: Any) -> bool:
    return (
        math.isclose(reading.eigenvalues[0], 2, rel_tol=_TOLERANCE)
        and math.isclose(reading.lowest[-1], -2, rel_tol=_TOLERANCE)
        and math.isclose(reading.negative.count, 1, rel_tol=_TOLERANCE)
        and abs(reading.trace) < _TOLERANCE
    )


def _flat() -> Subject:
    """Make a dead network, whose output is the last bias, which is frozen."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.zero_()  # type: ignore[operator]
        model[0].bias.fill_(-1.0)  # type: ignore[operator]
        model[2].weight.fill_(0.1)  # type: ignore[operator]
        model[2].bias.zero_()  # type: ignore[operator]
    model[2].bias.requires_grad_(False)
    return Subject(model, [(torch.ones(4, 3), torch.ones(4, 1))], nn.functional.mse_loss, name="known")


class _Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(nn.functional.dropout(x, 0.5))  # type: ignore[no-any-return]


def _noisy() -> Subject:
    return Subject(_Noisy(), [(torch.ones(8, 2), torch.zeros(8, 1))], nn.functional.mse_loss, name="known")


KNOWN = (
    Known(name="linear regression in uneven batches", make=_regression, holds=_regression_holds),
    Known(name="a saddle", make=_saddle, holds=_saddle_holds, fault=""),
    Known(
        name="a dead network: no curvature at all",
        make=_flat,
        holds=lambda reading: not reading.eigenvalues.any() and reading.trace == 0,
        fault="",
    ),
    Known(name="dropout that evaluation mode does not switch off", make=_noisy, holds=lambda r: r.is_random, fault=""),
)
