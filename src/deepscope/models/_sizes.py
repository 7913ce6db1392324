"""Sizes and shapes that a model cannot take, refused with a word on what it can."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from deepscope.core import UsageError


def positive(value: int, argument: str, owner: object) -> int:
    """Return a size, or refuse one that is not a whole number of at least 1.

    Raises
    ------
    UsageError
        It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(
            f"{argument} is {value!r}", where=type(owner).__name__, todo="Give a whole number of at least 1."
        )
    return value


def check_sequence(x: Tensor, features: int, owner: object) -> None:
    """Refuse an input that is not [batch, time, features] floating-point numbers with at least one step.

    Raises
    ------
    UsageError
        It is not.
    """
    wanted = f"[batch, time, {features}] of floating-point numbers, with at least one step"
    if x.ndim != 3 or x.shape[2] != features or not x.shape[1] or not x.is_floating_point():
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give {wanted}.",
        )


def check_images(x: Tensor, channels: int, owner: object, *, smallest: int = 1, multiple: int = 1) -> None:
    """Refuse an input that is not [batch, channels, height, width] floating-point numbers of a size that fits.

    Parameters
    ----------
    x
        The input.
    channels
        How many it must have.
    owner
        The model, for the message.
    smallest
        The least height and width.
    multiple
        What height and width must be multiples of.

    Raises
    ------
    UsageError
        It does not fit.
    """
    sides = x.shape[2:]
    fits = x.ndim == 4 and x.shape[1] == channels and x.is_floating_point()
    if not fits or any(side < smallest or side % multiple for side in sides):
        size = f", both at least {smallest}" * (smallest > 1) + f", both multiples of {multiple}" * (multiple > 1)
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give [batch, {channels}, height, width] of floating-point numbers{size}.",
        )


def check_tokens(x: Tensor, vocabulary: int, owner: object) -> None:
    """Refuse an input that is not [batch, time] whole numbers below ``vocabulary``, with at least one step.

    Raises
    ------
    UsageError
        It is not.
    """
    wanted = f"[batch, time] of int64 or int32 from 0 to {vocabulary - 1}, with at least one step"
    whole = not x.is_floating_point() and x.dtype.itemsize >= 4
    if x.ndim != 2 or not x.shape[1] or not whole:
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give {wanted}.",
        )
    # Embedding tables read beyond their end by a device other than the CPU end the process.
    if len(x) and not x.is_meta and (int(x.min()) < 0 or int(x.max()) >= vocabulary):
        raise UsageError(
            f"tokens run from {int(x.min())} to {int(x.max())}", where=type(owner).__name__, todo=f"Give {wanted}."
        )


def check_shape(x: Tensor, shape: Sequence[int], owner: object) -> None:
    """Refuse an input that is not [batch, *shape] floating-point numbers.

    Raises
    ------
    UsageError
        It is not.
    """
    if list(x.shape[1:]) != list(shape) or not x.is_floating_point():
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give [batch, {', '.join(map(str, shape))}] of floating-point numbers.",
        )


def probability(value: float, argument: str, owner: object) -> float:
    """Return a probability, or refuse a number that is not in [0, 1).

    Raises
    ------
    UsageError
        It is not.
    """
    if not 0 <= value < 1:
        raise UsageError(
            f"{argument} is {value!r}", where=type(owner).__name__, todo="Give a probability of at least 0, below 1."
        )
    return value
