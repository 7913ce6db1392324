"""Networks whose landscape is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

# A loss goes through a handful of float64 operations of relative error 1e-16 each, on numbers of order ten.
_TOLERANCE = 1e-13


class _Weights(nn.Module):
    """One weight per unit, each a filter of its own; its outputs are the weights themselves."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[value] for value in values], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, 0]


def _bowl(centre: float) -> Any:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        del targets
        return ((outputs - centre) ** 2).sum(dim=1).mean()

    return loss


def _double_well(outputs: Tensor, targets: Tensor) -> Tensor:
    """(w − 1)² (w − 0.2)²: minima of height 0 at 1 and 0.2, and a barrier of 0.4⁴ at 0.6 between them."""
    del targets
    return ((outputs - 1) ** 2 * (outputs - 0.2) ** 2).sum(dim=1).mean()


def _subject(loss: Any, *weights: float) -> Subject:
    data = [(torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))]
    return Subject(_Weights(*weights), data, loss, name="known")


def _steps(reading: Any) -> np.ndarray[Any, Any]:
    """Return a ± b for the signs in which one weight is moved: filter-normalised, its direction is ± itself."""
    a, b = np.meshgrid(reading.coordinates, reading.coordinates, indexing="ij")
    same = reading.direction_cosine > 0
    steps: np.ndarray[Any, Any] = a + b if same else a - b
    return steps


def _is_bowl(reading: Any) -> bool:
    # Each of four weights moves by ±a ±b of itself; a paraboloid about its centre is even.
    losses = reading.losses
    even = np.abs(losses - losses[::-1, ::-1]).max() <= _TOLERANCE * losses.max()
    middle = losses[len(losses) // 2, len(losses) // 2]
    return bool(even and middle == 0 and reading.centre_loss == 0 and reading.lowest.difference == 0)


def _is_double_well(reading: Any) -> bool:
    moved = _steps(reading)
    # The sign of the first direction is not known; that of its product with the second is.
    candidates = [(sign * moved) ** 2 * (sign * moved + 0.8) ** 2 for sign in (1, -1)]
    return any(bool(np.abs(reading.losses - each).max() <= _TOLERANCE * each.max()) for each in candidates)


def _is_off_centre(reading: Any) -> bool:
    # w = 1.5 in (w − 2)²: 0.25 there, and as low as 0 a third of w further.
    return bool(reading.centre_loss == 0.25 and reading.lowest.difference < -0.2)


class _Logarithm(nn.Module):
    """A logarithm, which is not finite once the weight has been moved by half its own size."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.weight - 0.5).log()[0]


def _logarithm() -> Subject:
    return Subject(_Logarithm(), [(torch.ones(2, 1), torch.zeros(2, 1))], nn.functional.mse_loss, name="known")


KNOWN = (
    Known(
        name="a paraboloid: even, lowest in the middle",
        make=lambda: _subject(_bowl(2.0), 2.0, 2.0, 2.0, 2.0),
        holds=_is_bowl,
    ),
    Known(
        name="a double well: the second minimum behind its barrier",
        make=lambda: _subject(_double_well, 1.0),
        holds=_is_double_well,
    ),
    Known(
        name="a network beside its minimum",
        make=lambda: _subject(_bowl(2.0), 1.5),
        holds=_is_off_centre,
        fault="",
    ),
    Known(
        name="a loss that is not finite beyond half a weight",
        make=_logarithm,
        holds=lambda reading: bool(np.isnan(reading.losses).any()) and reading.status != "",
        fault="",
    ),
)
