"""Work in chunks that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from deepscope.core import MeasurementError

T = TypeVar("T")


def in_chunks(n: int, step: int, run: Callable[[slice], T]) -> Iterator[T]:
    """Run something over n samples, so many at a time; a chunk that is too large for the memory is halved.

    Parameters
    ----------
    n, step
        Number of samples, and how many to try at once.
    run
        Called with each slice of the samples, in order.

    Raises
    ------
    MeasurementError
        Not even one sample fits.

    Examples
    --------
    >>> list(in_chunks(5, 2, lambda samples: (samples.start, samples.stop)))
    [(0, 2), (2, 4), (4, 5)]
    """
    start = 0
    while start < n:
        stop = min(start + step, n)
        try:
            made = run(slice(start, stop))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise MeasurementError(
                    "out of memory with a single sample",
                    todo="Measure a part of the network (only=…), or on a machine with more memory.",
                ) from error
            step = (stop - start) // 2
            continue
        yield made
        start = stop


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on a device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
