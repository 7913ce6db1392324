"""Convolutions of few rows at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

#: Values that may be laid out at once: 64 MiB.
_LAID_OUT = 2**23
_CONVOLUTIONS = {
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
}


class ConvolvedInParts(TorchFunctionMode):
    """Runs convolutions over a part of the rows after another, with the same results.

    In double precision torch lays the inputs out for all rows at once, each value as often as the kernel has places:
    ten times the memory of all else.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS or len(args) < 2:
            return func(*args, **kwargs)
        x, weight, *rest = args
        rows = max(1, _LAID_OUT // max(1, _laid_out(x, weight)))
        if x.ndim != weight.ndim or len(x) <= rows:
            return func(*args, **kwargs)
        first: Tensor = func(x[:rows], weight, *rest, **kwargs)
        found = first.new_empty((len(x), *first.shape[1:]))
        found[:rows] = first
        for start in range(rows, len(x), rows):
            found[start : start + rows] = func(x[start : start + rows], weight, *rest, **kwargs)
        return found


def _laid_out(x: Tensor, weight: Tensor) -> int:
    """Return how many values that are for a row."""
    return x[0].numel() // max(1, x.shape[1]) * weight[0].numel()
