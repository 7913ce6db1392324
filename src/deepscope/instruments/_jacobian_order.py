"""Whether what layers saw follows the samples of a batch into another order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from deepscope.subject import agrees

#: The dimension in which the samples lie, of each tensor of a call; None where they do not.
Axes = tuple[int | None, ...]


def rows_follow(
    forwards: Sequence[Sequence[Tensor]], backwards: Sequence[Sequence[Tensor]], axes: Sequence[Axes], n: int
) -> bool:
    """Say whether the tensors of all calls have a row per sample, or as many for each, in the order of the samples.

    Parameters
    ----------
    forwards, backwards
        What each call of a pass saw, of n samples in order and in reverse.
    axes
        Where its samples lie.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(4.0)
    >>> rows_follow([[x]], [[x.flip(0)]], [(0,)], 4), rows_follow([[x]], [[x]], [(0,)], 4)
    (True, False)
    """
    if not len(forwards) == len(backwards) == len(axes):
        return False
    return all(
        len(one) == len(other) == len(places)
        and all(_follows(a, b, axis, n) for a, b, axis in zip(one, other, places, strict=True))
        for one, other, places in zip(forwards, backwards, axes, strict=True)
    )


def _follows(one: Tensor, other: Tensor, axis: int | None, n: int) -> bool:
    if one.shape != other.shape:
        return False
    if axis is None:
        return True
    if one.shape[axis] % n:
        return False
    rows, others = (each.movedim(axis, 0).reshape(n, -1) for each in (one, other))
    return agrees(rows, others.flip(0))
