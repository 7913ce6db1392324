"""The value of a loss, and how many samples stand behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from deepscope.core import MeasurementError


def scalar_loss(loss: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> Tensor:
    """Return ``loss(outputs, targets)``, of shape [], attached to its graph.

    Raises
    ------
    MeasurementError
        The loss gives anything but one number.

    Examples
    --------
    >>> import torch
    >>> scalar_loss(torch.nn.functional.mse_loss, torch.ones(3), torch.zeros(3))
    tensor(1.)
    """
    value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise MeasurementError(f"the loss is not a scalar but {got}", todo="Give a loss that averages over the batch.")
    return value.reshape(())


def n_samples(value: Any) -> int:
    """Return the number of samples in inputs or targets: the length of the first tensor that has one, 0 without any.

    >>> import torch
    >>> n_samples({"ids": torch.zeros(4, 7)}), n_samples((None, torch.tensor(1.0))), n_samples("text")
    (4, 1, 0)
    """
    if isinstance(value, Tensor):
        return value.shape[0] if value.ndim else 1
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((n for n in map(n_samples, parts) if n), 0)
