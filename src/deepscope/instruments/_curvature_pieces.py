"""The data in pieces that stay in cache, and the proof that the loss is the mean over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_loss import MeanLoss
from deepscope.subject import Batch, Subject, n_samples

#: What a piece's graph may hold. Products over a multilayer perceptron and a convolutional network took least time with
#: 2 to 10 MB: more leaves the processor's caches, less is spent on the overhead of calls and on adding up gradients.
PIECE_BYTES = 8e6
_FEWEST = 16
#: A value computed twice, or in parts, differs by the rounding of a sum: 6e-8 in float32 times some hundred terms.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Piece:
    """A batch or a part of one.

    Attributes
    ----------
    batch
        Its inputs, targets and number of terms.
    number
        Of the batch; it names the batch in errors and seeds what is random.
    weight
        Share of all terms.
    """

    batch: Batch
    number: int
    weight: float


@dataclass(frozen=True)
class Pieces:
    """All data.

    Attributes
    ----------
    pieces
        In the order of the data; without those that have no terms.
    n_samples, n_batches
        What was read.
    separable
        Whether the loss of a batch is the mean over its samples, as was found by computing it both ways.
    """

    pieces: tuple[Piece, ...]
    n_samples: int
    n_batches: int
    separable: bool


def gather(
    subject: Subject, loss: MeanLoss, *, max_samples: int | None = None, most: int | None = None, whole: bool = False
) -> Pieces:
    """Read the data and cut it into pieces.

    Parameters
    ----------
    subject, loss
        What is measured. Whether the forward pass is random is noted in ``loss``.
    max_samples
        Whole batches are read until so many samples have been seen; None for all.
    most
        Most samples in a piece; None for as many as stay in cache.
    whole
        Whether batches must stay whole, because samples depend on one another.

    Raises
    ------
    MeasurementError
        The loss is a sum over samples rather than a mean, the forward pass is not repeatable even when seeded, or no
        batch has any terms.
    """
    batches = [(number, batch) for number, batch in enumerate(subject.batches(max_samples)) if batch.count]
    if not batches:
        raise MeasurementError("the loss has no terms in this data", where=subject.name, todo="Look at count=….")
    tensors = loss.split(loss.point)
    number, first = max(batches[: 1 + _FEWEST], key=lambda pair: pair[1].n_samples)
    with torch.no_grad():
        _check_repeats(subject, loss, tensors, first, number)
        separable = not whole and _is_mean(subject, loss, tensors, first, number)
    size = most or (_fitting(subject, loss, first, number) if separable else first.n_samples)
    total = sum(batch.count for _, batch in batches)
    pieces = []
    for number, batch in batches:
        for part in cut(subject, batch, size) if separable else [batch]:
            if part.count:
                pieces.append(Piece(part, number, part.count / total))
    seen = sum(batch.n_samples for _, batch in batches)
    return Pieces(tuple(pieces), seen, len(batches), separable)


def cut(subject: Subject, batch: Batch, size: int) -> list[Batch]:
    """Return a batch in parts of at most so many samples; what is not given per sample goes with every part."""
    if batch.n_samples <= size:
        return [batch]
    parts = []
    for begin in range(0, batch.n_samples, size):
        end = min(begin + size, batch.n_samples)
        inputs, targets = (_between(part, begin, end, batch.n_samples) for part in (batch.inputs, batch.targets))
        terms = subject.count(targets) if subject.count is not None else n_samples(targets) or end - begin
        parts.append(Batch(inputs, targets, end - begin, float(terms)))
    return parts


def _between(value: Any, begin: int, end: int, n: int) -> Any:
    if isinstance(value, Tensor):
        # A language model's targets may be flattened: several to a sample.
        each = len(value) // n if value.ndim and len(value) % n == 0 else 0
        return value[begin * each : end * each] if each else value
    if isinstance(value, Mapping):
        return {key: _between(item, begin, end, n) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_between(item, begin, end, n) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _check_repeats(subject: Subject, loss: MeanLoss, tensors: list[Tensor], batch: Batch, number: int) -> None:
    """Find out whether the forward pass is random, and whether a seed makes it repeatable."""
    loss.is_random = True
    same = [_value(loss, tensors, batch, number) for _ in range(2)]
    other = _value(loss, tensors, batch, number + 1)
    if not _close(*same):
        raise MeasurementError(
            "the forward pass is not repeatable: the same batch with the same seed gives two losses",
            where=subject.name,
            todo="Look for a generator of the model's own, a counter, or a clock in its forward pass.",
        )
    loss.is_random = not _close(same[0], other)


def _is_mean(subject: Subject, loss: MeanLoss, tensors: list[Tensor], batch: Batch, number: int) -> bool:
    if batch.n_samples < 2 or loss.is_random:
        # One draw over a whole batch is not the draws over its parts.
        return batch.n_samples < 2
    try:
        parts = [each for each in cut(subject, batch, (batch.n_samples + 1) // 2) if each.count]
        values = [_value(loss, tensors, part, number) for part in parts]
    except MeasurementError:
        return False
    whole = _value(loss, tensors, batch, number)
    if _close(whole, sum(v * part.count for v, part in zip(values, parts, strict=True)) / batch.count):
        return True
    if len(values) > 1 and _close(whole, sum(values)):
        raise MeasurementError(
            "the loss is a sum over samples, not a mean: batches of different sizes would not weigh alike",
            where=subject.name,
            todo='Use reduction="mean", or count=lambda targets: 1.0 if every batch is to weigh the same.',
        )
    return False


def _value(loss: MeanLoss, tensors: list[Tensor], batch: Batch, number: int) -> float:
    return float(loss.of(loss.outputs(tensors, batch, number), batch, number))


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _ROUNDING * max(abs(one), abs(other))


def _fitting(subject: Subject, loss: MeanLoss, batch: Batch, number: int) -> int:
    """Return how many samples' graphs fit into ``PIECE_BYTES``."""
    few = [cut(subject, batch, size)[0] for size in (_FEWEST // 2, _FEWEST)]
    if few[1].n_samples < _FEWEST or not few[0].count or not few[1].count:
        return _FEWEST
    small, large = (graph_bytes(loss, Piece(part, number, 1.0)) for part in few)
    per_sample = max(1.0, (large - small) / (few[1].n_samples - few[0].n_samples))
    return max(_FEWEST, int(PIECE_BYTES / per_sample))


def graph_bytes(loss: MeanLoss, piece: Piece) -> int:
    """Return how much memory a piece's graph of the gradient holds, parameters and data excepted."""
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    leaves = loss.leaves(loss.point)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss.of(loss.outputs(leaves, piece.batch, piece.number), piece.batch, piece.number)
        gradients = loss.gradients(value, leaves, create_graph=True)
    del gradients
    for given in (loss.point, *loss._fixed.values(), *_tensors((piece.batch.inputs, piece.batch.targets))):
        seen.pop(given.untyped_storage().data_ptr(), None)
    return sum(seen.values())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for item in items for tensor in _tensors(item)]
