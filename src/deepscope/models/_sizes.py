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


def not_negative(value: int, argument: str, owner: object) -> int:
    """Return a number, or refuse one that is not a whole number of at least 0.

    Raises
    ------
    UsageError
        It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(
            f"{argument} is {value!r}", where=type(owner).__name__, todo="Give a whole number of at least 0."
        )
    return value


def even(value: int, argument: str, owner: object) -> int:
    """Return a size, or refuse one that is not an even whole number of at least 2.

    Raises
    ------
    UsageError
        It is not.
    """
    if positive(value, argument, owner) % 2:
        raise UsageError(f"{argument} is {value}", where=type(owner).__name__, todo="Give an even number.")
    return value


def divided(whole: int, argument: str, parts: int, parts_argument: str, owner: object) -> int:
    """Return the size of one of equal parts, or refuse a whole that does not divide into them.

    Raises
    ------
    UsageError
        A size below 1, or one that does not divide.
    """
    if positive(whole, argument, owner) % positive(parts, parts_argument, owner):
        raise UsageError(
            f"{argument} is {whole}, and {parts_argument} {parts}",
            where=type(owner).__name__,
            todo=f"Give a {argument} that is a multiple of {parts_argument}.",
        )
    return whole // parts


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


def check_vectors(x: Tensor, features: int, owner: object) -> None:
    """Refuse an input that is not [batch, …] floating-point numbers, so many to a sample.

    Raises
    ------
    UsageError
        It is not.
    """
    if x.ndim < 2 or x[:1].numel() != features * len(x[:1]) or not x.is_floating_point():
        raise UsageError(
            f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give [batch, {features}] of floating-point numbers; dimensions after the first are flattened.",
        )


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


def check_lengths(lengths: Tensor, x: Tensor, owner: object) -> Tensor:
    """Return the sequences' lengths on the input's device, or refuse those that are not 1 to time, [batch].

    Raises
    ------
    UsageError
        They are not.
    """
    batch, time = x.shape[:2]
    whole = not lengths.is_floating_point() and lengths.dtype.itemsize >= 4
    if lengths.shape != (batch,) or not whole or bool(((lengths < 1) | (lengths > time)).any()):
        raise UsageError(
            f"lengths is {list(lengths.shape)} of {str(lengths.dtype).removeprefix('torch.')}, "
            + (f"from {int(lengths.min())} to {int(lengths.max())}" if lengths.numel() else "empty"),
            where=type(owner).__name__,
            todo=f"Give [{batch}] whole numbers from 1 to {time}: no sequence is hidden as a whole.",
        )
    return lengths.to(x.device)


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
