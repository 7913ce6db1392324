"""Representations of the same samples, made ready to be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import UsageError

#: What rounding leaves of a constant column, in units of the largest value, is no feature.
_CONSTANT = 1e-14


def same_samples(x: NDArray[Any] | Tensor, y: NDArray[Any] | Tensor, fewest: int) -> tuple[Tensor, Tensor]:
    """Return both as matrices in float64 with centred columns, scaled so that squares neither overflow nor vanish.

    Raises
    ------
    UsageError
        Samples are not as many, fewer than ``fewest``, or not finite.
    """
    X, Y = _centred(x, "x"), _centred(y, "y")
    if len(X) != len(Y) or len(X) < fewest:
        raise UsageError(
            "representations cannot be compared",
            where=f"{len(X)} and {len(Y)} samples",
            todo=f"Give the same samples of both, at least {fewest}.",
        )
    return X, Y


def as_points(values: NDArray[Any] | Tensor, name: str) -> Tensor:
    """Return values as points in float64, [n, d], without gradients.

    Raises
    ------
    UsageError
        They are one number, or not finite.
    """
    # torch takes no array that is read backwards.
    tensor = (values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))).detach()
    if np.ndim(values) == 0:
        raise UsageError("points are a matrix [samples, features]", where=name)
    X = tensor.reshape(len(tensor), -1).double()
    if not bool(torch.isfinite(X).all()):
        raise UsageError("points hold values that are not finite", where=name)
    return X


def _centred(values: NDArray[Any] | Tensor, name: str) -> Tensor:
    X = as_points(values, name)
    if X.numel() == 0:
        return X
    X = X / max(float(X.abs().max()), float(np.finfo(np.float64).tiny))
    X = X - X.mean(dim=0)
    return torch.where(X.abs().amax(dim=0) > _CONSTANT, X, 0.0)
