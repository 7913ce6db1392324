"""The value of a loss, and how many terms it averages over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from deepscope.core import DataError, UsageError

Loss = Callable[[Any, Any], Tensor]
Count = Callable[[Any], Any]


def scalar_loss(loss: Loss, outputs: Any, targets: Any) -> Tensor:
    """Return ``loss(outputs, targets)``, of shape [].

    Raises
    ------
    UsageError
        The loss gives anything but one number.
    """
    value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UsageError(f"the loss is {got}, not one number", where="loss", todo="Give a loss that is a mean.")
    return value.reshape(())


def n_terms(targets: Any, count: Count | None) -> float:
    """Return the number of terms that a batch's loss averages over: the batch length unless ``count`` says it.

    Raises
    ------
    DataError
        There are none.
    """
    terms = float(count(targets)) if count is not None else float(_length(targets))
    if not terms > 0:
        raise DataError(
            f"a batch's loss averages over {terms:g} terms", where="count", todo="Leave out batches without targets."
        )
    return terms


def _length(targets: Any) -> int:
    if isinstance(targets, Mapping):
        return _length(next(iter(targets.values()), None))
    if isinstance(targets, (tuple, list)):
        return _length(targets[0]) if targets else 0
    return len(targets) if isinstance(targets, Tensor) and targets.ndim else 1
