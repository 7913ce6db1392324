"""Samples of a batch: some of them, and several batches' together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def take_samples(value: Any, n: int, samples: slice) -> Any:
    """Return some samples of a batch's inputs, targets or outputs.

    Parameters
    ----------
    value
        Tensors in nested tuples, lists and mappings.
    n
        The batch's length: of a tensor whose first dimension has it the samples are taken, anything else is passed
        on as it is.
    samples
        Which.

    Examples
    --------
    >>> take_samples({"ids": torch.arange(3), "scale": torch.tensor(2.0)}, 3, slice(1, 2))
    {'ids': tensor([1]), 'scale': tensor(2.)}
    """
    return each_sampled(value, n, lambda tensor: tensor[samples])


def each_sampled(
    value: Any, n: int, change: Callable[[Tensor], Any], other: Callable[[Any], Any] = lambda it: it
) -> Any:
    """Apply a function to every tensor of a batch whose first dimension is the samples', and one to all else."""
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == n:
        return change(value)
    if isinstance(value, Mapping):
        return {key: each_sampled(item, n, change, other) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        made = [each_sampled(item, n, change, other) for item in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return other(value)


def joined(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    """Return the inputs of several batches as those of one; None where they do not fit together.

    >>> joined([torch.zeros(2, 3), torch.ones(1, 3)], [2, 1]).shape
    torch.Size([3, 3])
    >>> joined([torch.zeros(2, 3), torch.ones(1, 4)], [2, 1]) is None
    True
    """
    first = values[0]
    if isinstance(first, Tensor):
        per_sample = all(
            isinstance(each, Tensor)
            and each.ndim
            and each.shape[0] == n
            and each.shape[1:] == first.shape[1:]
            and each.dtype == first.dtype
            for each, n in zip(values, lengths, strict=True)
        )
        return torch.cat(list(values)) if per_sample else None
    if isinstance(first, Mapping):
        made = {key: joined([each[key] for each in values], lengths) for key in first}
        return None if any(each is None for each in made.values()) else made
    if isinstance(first, (tuple, list)):
        parts = [joined(list(each), lengths) for each in zip(*values, strict=True)]
        return None if any(each is None for each in parts) else type(first)(parts)
    return None
