"""Networks whose spectra are known exactly."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Known
from deepscope.subject import Subject

_SIDE = 64

# The weights are float32: a singular value of size 1 is good to 6e-8 times a small factor, its square to twice that.
_TOLERANCE = 1e-5


def _linear(weight: Tensor) -> Subject:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
    return Subject(layer, name="known")


def _noise(rows: int, cols: int) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def _near(value: float | None, truth: float) -> bool:
    return value is not None and math.isclose(value, truth, rel_tol=_TOLERANCE)


def _identity() -> Subject:
    return _linear(torch.eye(_SIDE))


def _identity_holds(reading: Any) -> bool:
    (row,) = reading.weights
    ranks = _near(row.stable_rank, _SIDE) and _near(row.effective_rank, _SIDE) and row.rank == _SIDE
    return ranks and row.alpha is None and "equal" in row.status and _near(row.log_norm, math.log10(_SIDE))


def _geometric() -> Subject:
    """λ_k = 2^−k/4: stable rank Σ 2^−k/4."""
    return _linear(torch.diag(2.0 ** (-torch.arange(_SIDE) / 8)))


def _geometric_holds(reading: Any) -> bool:
    (row,) = reading.weights
    q = 2.0**-0.25
    return (
        _near(row.stable_rank, (1 - q**_SIDE) / (1 - q)) and row.rank == _SIDE and _near(10**row.log_spectral_norm, 1)
    )


def _gaussian() -> Subject:
    return _linear(_noise(2 * _SIDE, 4 * _SIDE) / math.sqrt(_SIDE))


def _gaussian_holds(reading: Any) -> bool:
    (row,) = reading.weights
    # σ² is 1/64, so the upper edge is (√128 + √256)²/64; the median of 128 eigenvalues is good to about 1/128.
    edge = (math.sqrt(2 * _SIDE) + math.sqrt(4 * _SIDE)) ** 2 / _SIDE
    return row.n_spikes == 0 and math.isclose(row.mp_upper, edge, rel_tol=0.05)


def _spiked() -> Subject:
    noise = _noise(2 * _SIDE, 4 * _SIDE) / math.sqrt(_SIDE)
    noise[3] += 2.0
    return _linear(noise)


def _spiked_holds(reading: Any) -> bool:
    return bool(reading.weights[0].n_spikes == 1)


def _of_rank(rank: int) -> Subject:
    # Small integers: the product is exact in every dtype, so its rank is exact too.
    return _linear((_noise(_SIDE, rank) * 3).round() @ (_noise(rank + 1, _SIDE)[1:] * 3).round())


def _has_rank(reading: Any, rank: int) -> bool:
    return bool(reading.weights[0].rank == rank)


KNOWN = (
    Known(name="the identity: every rank is its side", make=_identity, holds=_identity_holds),
    Known(name="a geometric spectrum: stable rank in closed form", make=_geometric, holds=_geometric_holds),
    Known(name="a Gaussian matrix: Marchenko–Pastur, no spike", make=_gaussian, holds=_gaussian_holds),
    Known(name="a Gaussian matrix with one planted direction", make=_spiked, holds=_spiked_holds),
    *(
        Known(name=f"rank {k} of 64", make=partial(_of_rank, k), holds=partial(_has_rank, rank=k), fault="weight")
        for k in (5, 1)
    ),
)
