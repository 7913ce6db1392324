"""The data in pieces that stay in cache, and the proof that the loss is the mean over them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepscope.core import MeasurementError
from deepscope.instruments._curvature_loss import MeanLoss, Piece
from deepscope.subject import Batch, FirstSamples, Subject, is_written, joined, part_of, tensors_in

#: What a piece's graph may hold. Products over a multilayer perceptron and a convolutional network took least time with
#: 2 to 10 MB: more leaves the processor's caches, less is spent on the overhead of calls and on adding up gradients.
PIECE_BYTES = 8e6
_FEWEST = 16
#: A value computed twice, or in parts, differs by the rounding of a sum: 6e-8 in float32 times some hundred terms.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Pieces:
    """All data.

    Attributes
    ----------
    pieces
        In the order of the data; without those that have no terms.
    n_samples, n_batches
        What was read.
    is_cut
        Whether the last batch has more samples.
    separable
        Whether the loss of a batch is the mean over its samples, as was found by computing it both ways.
    """

    pieces: tuple[Piece, ...]
    n_samples: int
    n_batches: int
    is_cut: bool
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
        The first so many samples are read; None for all.
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
    read, is_cut = _read(subject, max_samples, whole=whole)
    if not read:
        raise MeasurementError("the loss has no terms in this data", where=subject.name, todo="Look at count=….")
    tensors = loss.split(loss.point)
    probe = max(read[:_FEWEST], key=lambda piece: piece.batch.n_samples)
    if probe.batch.n_samples == 1 and len(read) > 1:
        probe = _joined(read[:2], 2)[0]
    if most is not None:
        probe = cut(subject, probe, 2 * most)[0]
    with torch.no_grad():
        _check_repeats(subject, loss, tensors, probe)
        separable = not whole and _is_mean(subject, loss, tensors, probe)
    if is_cut and not separable:
        # What a batch's samples have in common is that of all of them.
        read, is_cut = _read(subject, max_samples, whole=True)
    pieces = read
    if separable:
        size = most or _fitting(subject, loss, probe)
        pieces = _joined([part for piece in read for part in cut(subject, piece, size)], size)
    total = sum(piece.batch.count for piece in pieces)
    weighted = tuple(replace(piece, weight=piece.batch.count / total) for piece in pieces)
    return Pieces(weighted, sum(piece.batch.n_samples for piece in read), len(read), is_cut, separable)


def _read(subject: Subject, max_samples: int | None, *, whole: bool) -> tuple[list[Piece], bool]:
    read, seen, first = [], 0, FirstSamples(subject, max_samples)
    for number, batch in enumerate(subject.batches(max_samples) if whole else first):
        if batch.count:
            read.append(Piece(batch, number, seen))
        seen += batch.n_samples
    return read, first.is_cut


def fewer_samples(subject: Subject, most: int | None) -> int | None:
    """Return half as many samples for a piece as there were at most; None where that was one.

    A loss that is no mean over samples keeps its batches whole all the same.
    """
    before = most or min(max(batch.n_samples for batch in subject.batches()), 2048)
    return before // 2 or None


def cut(subject: Subject, piece: Piece, size: int) -> list[Piece]:
    """Return parts of at most so many samples that have terms; what is not given per sample goes with every part."""
    batch = piece.batch
    if batch.n_samples <= size:
        return [piece]
    parts = []
    for begin in range(0, batch.n_samples, size):
        part = part_of(subject, batch, slice(begin, min(begin + size, batch.n_samples)))
        if part.count:
            parts.append(Piece(part, piece.number, piece.first + begin, piece.weight * part.count / batch.count))
    return parts


def _joined(pieces: list[Piece], size: int) -> list[Piece]:
    """Put small pieces that follow one another together, where they fit: fewer calls for the same work."""
    made: list[Piece] = []
    for piece in pieces:
        both = _both(made[-1].batch, piece.batch) if made else None
        if both is not None and both.n_samples <= size:
            made[-1] = replace(made[-1], batch=both)
        else:
            made.append(piece)
    return made


def _both(one: Batch, other: Batch) -> Batch | None:
    lengths = [one.n_samples, other.n_samples]
    inputs = joined([one.inputs, other.inputs], lengths)
    targets = joined([one.targets, other.targets], lengths)
    if inputs is None or targets is None:
        return None
    return Batch(inputs, targets, sum(lengths), one.count + other.count)


def _check_repeats(subject: Subject, loss: MeanLoss, tensors: list[Tensor], probe: Piece) -> None:
    """Find out whether the forward pass is random, and whether a seed makes it repeatable."""
    loss.is_random = True
    one, again = (_value(loss, tensors, probe) for _ in range(2))
    if not _close(one, again):
        if is_written(probe.batch.inputs):
            raise MeasurementError(
                "the forward pass writes into its inputs, so that the same batch is another the second time",
                where=subject.name,
                todo="Let it work on a copy (x = x.clone()), or out of place.",
            )
        raise MeasurementError(
            "the forward pass is not repeatable: the same batch with the same seed gives two losses",
            where=subject.name,
            todo="Look for a generator of the model's own, a counter, or a clock in its forward pass.",
        )
    loss.is_random = not _close(one, _value(loss, tensors, replace(probe, number=probe.number + 1)))


def _is_mean(subject: Subject, loss: MeanLoss, tensors: list[Tensor], probe: Piece) -> bool:
    batch = probe.batch
    # One draw over a whole batch is not the draws over its parts.
    if batch.n_samples < 2 or loss.is_random:
        return False
    try:
        parts = cut(subject, probe, (batch.n_samples + 1) // 2)
        values = [_value(loss, tensors, part) for part in parts]
    except MeasurementError:
        return False
    whole = _value(loss, tensors, probe)
    mean = sum(value * part.batch.count for value, part in zip(values, parts, strict=True)) / batch.count
    if _close(whole, mean):
        return True
    if len(values) > 1 and _close(whole, sum(values)):
        raise MeasurementError(
            "the loss is a sum over samples, not a mean: batches of different sizes would not weigh alike",
            where=subject.name,
            todo='Use reduction="mean", or count=lambda targets: 1.0 if every batch is to weigh the same.',
        )
    return False


def _value(loss: MeanLoss, tensors: list[Tensor], piece: Piece) -> float:
    return float(loss.of(loss.outputs(tensors, piece), piece))


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _ROUNDING * max(abs(one), abs(other))


def _fitting(subject: Subject, loss: MeanLoss, probe: Piece) -> int:
    """Return how many samples' graphs fit into ``PIECE_BYTES``."""
    small, large = (cut(subject, probe, size)[0] for size in (_FEWEST // 2, _FEWEST))
    more = large.batch.n_samples - small.batch.n_samples
    if more <= 0:
        return _FEWEST
    per_sample = max(1.0, (graph_bytes(loss, large) - graph_bytes(loss, small)) / more)
    return max(_FEWEST, int(PIECE_BYTES / per_sample))


def graph_bytes(loss: MeanLoss, piece: Piece) -> int:
    """Return how much memory a piece's graph of the gradient holds, parameters and data excepted."""
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        # An output that its own graph holds would keep that graph alive.
        return tensor.detach()

    leaves = loss.leaves(loss.point)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss.of(loss.outputs(leaves, piece), piece)
        gradients = loss.gradients(value, leaves, create_graph=True)
    del gradients
    for given in (loss.point, *loss.fixed.values(), *tensors_in((piece.batch.inputs, piece.batch.targets))):
        seen.pop(given.untyped_storage().data_ptr(), None)
    return sum(seen.values())
