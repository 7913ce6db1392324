"""The data of a measurement in chunks that stay in cache, where the loss may be split so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.subject import Batch, Subject, part_of, scalar_loss

#: Samples of a chunk, where each is an image or a sequence and where it is a vector: activations of so many fit a
#: processor's cache, and are enough that calling a module costs little beside running it.
_OF_POSITIONS, _OF_VECTORS = 50, 500
# A mean over a batch and the mean of its parts' means differ by the rounding of sums in another order.
_SAME = 1e-3


def chunk_size(inputs: Any, weights: Iterable[Tensor]) -> int:
    """Return how many samples a chunk should have, for inputs and weights such as these.

    >>> chunk_size(torch.zeros(9, 784), [torch.zeros(10, 784)]), chunk_size(torch.zeros(9, 7).long(), [])
    (500, 50)
    """
    kernels = any(weight.ndim > 2 for weight in weights)
    vectors = isinstance(inputs, Tensor) and inputs.is_floating_point() and inputs.ndim != 3
    return _OF_VECTORS if vectors and not kernels else _OF_POSITIONS


def split(subject: Subject, batch: Batch, size: int) -> list[Batch]:
    """Split a batch into smaller ones of at most ``size`` samples."""
    n = batch.n_samples
    if n <= size:
        return [batch]
    return [part_of(subject, batch, slice(start, min(start + size, n))) for start in range(0, n, size)]


def pieces_add_up(subject: Subject, batch: Batch, loss_of: Callable[[Batch], float]) -> bool:
    """Say whether the batch's loss is the mean of its parts' losses, weighted by their terms.

    Parameters
    ----------
    subject
        Whose loss it is.
    batch
        Any batch; one of a single sample tells nothing.
    loss_of
        Runs a batch and returns its loss.

    Raises
    ------
    MeasurementError
        The loss is the sum of its parts' losses: batches of unequal length would not weigh as they should.
    """
    pieces = split(subject, batch, max(1, (batch.n_samples + 1) // 2))
    if len(pieces) == 1:
        return batch.n_samples == 1
    whole = loss_of(batch)
    try:
        parts = [loss_of(piece) if piece.count else 0.0 for piece in pieces]
    except MeasurementError:
        # A network may take batches of one length only.
        return False
    mean = sum(piece.count * part for piece, part in zip(pieces, parts, strict=True)) / batch.count
    if math.isclose(whole, mean, rel_tol=_SAME, abs_tol=1e-9):
        # With count=lambda targets: 1 the parts' terms are no longer a batch's.
        return math.isclose(sum(piece.count for piece in pieces), batch.count)
    if math.isclose(whole, sum(parts), rel_tol=_SAME) and sum(piece.count for piece in pieces) == batch.count:
        raise MeasurementError(
            "the loss is a sum over the samples of a batch, not a mean",
            where=subject.name,
            todo='Give reduction="mean", or count=lambda targets: 1 to average over batches.',
        )
    return False


def sample_losses(subject: Subject, batch: Batch, outputs: Any) -> Tensor | None:
    """Return the loss of every sample by itself, [n], and None where it cannot be had from the outputs."""
    n = batch.n_samples
    if not isinstance(outputs, Tensor) or not isinstance(batch.targets, Tensor):
        return None
    if outputs.ndim == 0 or len(outputs) != n or len(batch.targets) != n or subject.loss is None:
        return None
    loss = subject.loss

    def of_one(output: Tensor, target: Tensor) -> Tensor:
        return scalar_loss(loss, output[None], target[None])

    try:
        found: Tensor = torch.vmap(of_one)(outputs, batch.targets)
    except Exception:
        # A loss may do anything; chunks then stand in for samples.
        return None
    return found


def sample_counts(subject: Subject, batch: Batch) -> NDArray[np.float64]:
    """Return the number of terms of every sample, [n]."""
    if subject.count is None:
        return np.ones(batch.n_samples)
    return np.array([float(subject.count(batch.targets[index : index + 1])) for index in range(batch.n_samples)])


def blocks(chunks: Iterable[list[Batch]], size: Callable[[Batch], int], most: int | None) -> Iterator[list[Batch]]:
    """Gather chunks into blocks of at most ``most`` bytes, by what ``size`` says; None gathers all into one."""
    block: list[Batch] = []
    held = 0
    for pieces in chunks:
        for piece in pieces:
            more = size(piece)
            if block and most is not None and held + more > most:
                yield block
                block, held = [], 0
            block.append(piece)
            held += more
    if block:
        yield block
