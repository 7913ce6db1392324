"""The loss over data at many points of the space of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import DeepscopeError, LeftOut, MeasurementError, Stopwatch, first_line
from deepscope.instruments._batch_statistics import BatchStatistics
from deepscope.instruments._chunks import blocks, chunk_size, pieces_add_up, sample_counts, split
from deepscope.instruments._linear_head import HeadOutputs, LinearHead, find_linear_head
from deepscope.instruments._parameter_points import Affine, Points
from deepscope.instruments._parameter_space import ParameterSpace, Tensors, cast
from deepscope.instruments._runner import Runner
from deepscope.subject import Batch, FirstSamples, Subject, n_batches, tensors_in

Floats = NDArray[np.float64]

#: Bytes of data, and of a first layer's outputs for it, that are held while all points are passed.
_HELD = 256 * 2**20
# One loss computed in two orders of summation, in float32, through some tens of layers.
_SAME = 1e-4


@dataclass(frozen=True)
class Losses:
    """Losses at points, by unit of data.

    Attributes
    ----------
    by_unit
        [points, units]: the loss of each sample, or of each chunk of data where samples are not told apart.
    counts
        Number of terms of each unit, [units].
    of_samples
        Whether the units are samples.
    n_samples
        Samples seen.
    """

    by_unit: Floats
    counts: Floats
    of_samples: bool
    n_samples: int

    @property
    def mean(self) -> Floats:
        """Mean loss over all terms at each point, [points]; NaN where it is not finite."""
        # A unit whose terms are all ignored has no loss; 0 · NaN would be one.
        values = np.where(self.counts > 0, self.by_unit, 0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            means = values @ (self.counts / self.counts.sum())
        return np.where(np.isfinite(means), means, np.nan)


class PointLosses:
    """Evaluates a subject's loss at points of its space of parameters, without writing into them.

    Parameters
    ----------
    subject, space
        What is measured; it must be in its undisturbed context.
    stopwatch
        Counts the passes.
    max_samples
        The first so many samples are run; None for all data.
    training
        Run in training mode, every point with the same random numbers.
    recompute
        Estimate batch normalisation's statistics anew at every point.
    seed
        Of the random numbers.

    Attributes
    ----------
    left_out
        What the data and the model did not allow.
    has_more
        Whether there are further samples than were run.

    Raises
    ------
    MeasurementError
        The model refuses the inputs, the loss the targets; the loss is no finite scalar at the subject itself, or a sum
        over samples.
    """

    def __init__(
        self,
        subject: Subject,
        space: ParameterSpace,
        stopwatch: Stopwatch,
        *,
        max_samples: int | None,
        training: bool = False,
        recompute: bool = False,
        seed: int = 0,
    ) -> None:
        assert subject.model is not None
        self.subject, self.space, self.max_samples = subject, space, max_samples
        self.left_out: list[LeftOut] = []
        self.has_more = False
        self._recompute = recompute
        self._runner = Runner(subject, space, BatchStatistics(subject.model) if recompute else None, stopwatch, seed)
        self._runner.seeded = training
        # What a batch's statistics or masks are depends on which samples it has.
        self._whole = training or recompute or subject.device.type != "cpu"
        first = next(iter(subject.batches(1)))
        self._size = chunk_size(first.inputs, space.origin.values())
        self._channels_last = False
        self._head: LinearHead | None = None
        self._kept: list[Batch] | None = None
        self._prepare(coupled=training or recompute)

    def at(self, points: Points, *, of_samples: bool = False) -> Losses:
        """Return the losses at all points; ``of_samples`` tells samples apart where the loss allows it."""
        while True:
            try:
                return self._at(points, of_samples)
            except torch.OutOfMemoryError as error:
                self._shrink(error)

    def laid_out(self, tensors: Tensors) -> Tensors:
        """Return tensors in the memory format in which the network runs fastest."""
        if not self._channels_last:
            return tensors
        return {name: _channels_last(tensor) for name, tensor in tensors.items()}

    def _at(self, points: Points, of_samples: bool) -> Losses:
        found: list[_Units] = []
        n_samples = 0
        for block in self._blocks(points):
            by_point = self._block(points, block, of_samples)
            for batch, losses in zip(block, zip(*by_point, strict=True), strict=True):
                n_samples += batch.n_samples
                found.append(self._units(batch, losses, of_samples))
        # A single chunk whose samples cannot be told apart makes units of all chunks.
        apart = of_samples and all(each.of_samples for each in found)
        units = found if apart else [each.joined() for each in found]
        counts = np.concatenate([each.counts for each in units])
        if not counts.sum() > 0:
            raise MeasurementError("no sample has a term of the loss", where=self.subject.name, todo="Look at count=….")
        return Losses(np.concatenate([each.values for each in units], axis=1), counts, apart, n_samples)

    def _block(self, points: Points, block: Sequence[Batch], of_samples: bool) -> list[list[Floats]]:
        """Return, for every point, the losses of every chunk."""
        head = self._head_for(points, block)
        if head is None or not isinstance(points, Affine):
            return [self._runner.run(points.at(i), block, of_samples=of_samples) for i in range(len(points))]
        products = [head.products(self.subject, points, self.space.fixed, batch) for batch in block]
        found = []
        with head.replaced() as given:
            for index, coefficients in enumerate(points.coefficients):
                outputs = _Lazy(products, coefficients)
                point = points.at(index, without=head.moved)
                found.append(self._runner.run(point, block, of_samples=of_samples, first_layer=(given, outputs)))
        return found

    def _units(self, batch: Batch, losses: Sequence[Floats], of_samples: bool) -> _Units:
        if of_samples and all(len(each) == batch.n_samples for each in losses):
            return _Units(np.array(losses), sample_counts(self.subject, batch), True)
        if any(len(each) > 1 for each in losses):
            # Samples are told apart at some points only, as where a sum over them overflows.
            counts = sample_counts(self.subject, batch)
            losses = [_Units(each[None], counts, True).joined().values[0] if len(each) > 1 else each for each in losses]
        return _Units(np.array(losses), np.array([batch.count]), False)

    def _shrink(self, error: torch.OutOfMemoryError) -> None:
        longest = max(batch.n_samples for batch in self._batches())
        size = min(self._size, longest) if not self._whole else longest
        if self._coupled or size <= 1:
            raise MeasurementError(
                "the device has not enough memory for one chunk of the data",
                where=self.subject.name,
                todo="Give smaller batches.",
            ) from error
        self._whole, self._size, self._kept = False, size // 2, None

    # --- data ---

    def _blocks(self, points: Points) -> Iterator[list[Batch]]:
        if self._kept is not None:
            yield self._kept
            return
        head = self._head if isinstance(points, Affine) else None
        first: list[Batch] | None = None
        for count, block in enumerate(blocks(self._chunks(), lambda each: _nbytes(each, head), self._most)):
            first = block if count == 0 else None
            yield block
        # Data that fits is held for the next points, too.
        self._kept = first

    @property
    def _most(self) -> int | None:
        # Statistics are those of all the data.
        return None if self._recompute else _HELD

    def _batches(self) -> Iterator[Batch]:
        first, count = FirstSamples(self.subject, self.max_samples), 0
        # What a batch's samples have in common is that of all of them.
        for batch in self.subject.batches(self.max_samples) if self._coupled else first:
            count += 1
            yield batch
        self.has_more = first.is_cut or (n_batches(self.subject.data) or 0) > count

    def _chunks(self) -> Iterator[list[Batch]]:
        for batch in self._batches():
            pieces = [batch] if self._whole else split(self.subject, batch, self._size)
            yield [self._fitted(piece) for piece in pieces]

    def _fitted(self, batch: Batch) -> Batch:
        inputs, targets = (cast(part, self.space.dtype) for part in (batch.inputs, batch.targets))
        return replace(batch, inputs=_channels_last(inputs) if self._channels_last else inputs, targets=targets)

    # --- what the first batch tells ---

    def _prepare(self, *, coupled: bool) -> None:
        self._coupled = coupled
        first = self._fitted(next(iter(self.subject.batches(1))))
        versions = _versions(first)
        here = self._once(first)
        if not math.isfinite(here):
            raise MeasurementError(
                f"the loss is {here}", todo="Look at the inputs, the targets and anatomy's findings first."
            )
        # What a forward pass writes into its inputs would be the next point's inputs.
        self._runner.copied = _versions(first) != versions
        if self._runner.copied:
            first = self._fitted(next(iter(self.subject.batches(1))))
        if not self._runner.seeded and not math.isclose(self._once(first), here, rel_tol=_SAME, abs_tol=1e-9):
            self._runner.seeded = self._coupled = self._whole = True
            self.left_out.append(
                LeftOut("randomness", "the forward pass is random in evaluation mode; all points share one seed")
            )
        if not self._coupled and not pieces_add_up(self.subject, first, self._once):
            self._coupled = self._whole = True
            if first.n_samples > 1:
                self.left_out.append(LeftOut("chunks", "the loss is no mean over samples: batches are run whole"))
        self._prepare_layout(first, here)
        if not self._recompute and not self._runner.copied:
            self._head = find_linear_head(self.subject, self.space, first)

    def _prepare_layout(self, first: Batch, here: float) -> None:
        """Put channels last where the network gives the same loss so: convolutions take half the time."""
        on_cpu = self.subject.device.type == "cpu"
        if not on_cpu or not any(tensor.ndim == 4 for tensor in self.space.origin.values()):
            return
        self._channels_last = True
        try:
            self._channels_last = math.isclose(self._once(self._fitted(first)), here, rel_tol=_SAME, abs_tol=1e-9)
        except MeasurementError:
            # A forward pass with .view(…) refuses what has its channels last.
            self._channels_last = False

    def _head_for(self, points: Points, block: Sequence[Batch]) -> LinearHead | None:
        """Return the first layer where its outputs can be added up, and give the loss that running it gives."""
        head = self._head
        if head is None or not isinstance(points, Affine) or len(points) < 4 or not head.fits(points):
            return None
        products = head.products(self.subject, points, self.space.fixed, block[0])
        for index in (0, len(points) - 1):
            (plain,) = self._runner.run(points.at(index), block[:1])
            with head.replaced() as given:
                outputs = _Lazy([products], points.coefficients[index])
                point = points.at(index, without=head.moved)
                (summed,) = self._runner.run(point, block[:1], first_layer=(given, outputs))
            if not np.allclose(plain, summed, rtol=_SAME, atol=1e-9, equal_nan=True):
                self._head = None
                return None
        return head

    def _once(self, batch: Batch) -> float:
        """Return a batch's loss at the subject itself, and say what goes wrong."""
        try:
            (losses,) = self._runner.run(self.laid_out(self.space.origin), [batch])
        except (DeepscopeError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise MeasurementError(
                f"the model or the loss refuses a batch: {first_line(error)}",
                where=self.subject.name,
                todo="Check that inputs and labels have the shape and type that model and loss take.",
            ) from error
        return float(losses[0])


@dataclass(frozen=True)
class _Units:
    """One chunk's losses: [points, samples] or [points, 1]."""

    values: Floats
    counts: Floats
    of_samples: bool

    def joined(self) -> _Units:
        """Return the chunk as one unit."""
        total = self.counts.sum()
        values = np.where(self.counts > 0, self.values, 0.0) @ self.counts / (total or 1.0)
        return _Units(values[:, None], np.array([total]), False)


class _Lazy(Sequence[Tensor]):
    """The first layer's outputs for every chunk at one point, each added up when it is its turn."""

    def __init__(self, products: Sequence[HeadOutputs], coefficients: Floats) -> None:
        self._products, self._coefficients = products, coefficients

    def __len__(self) -> int:
        return len(self._products)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        return self._products[index].at(self._coefficients)


def _channels_last(value: Any) -> Any:
    if isinstance(value, Tensor) and value.ndim == 4:
        # Not contiguous(…): of a tensor with one channel that keeps strides by which torch takes channels for first.
        return value.to(memory_format=torch.channels_last)
    return value


def _versions(batch: Batch) -> list[int]:
    return [tensor._version for part in (batch.inputs, batch.targets) for tensor in tensors_in(part)]


def _nbytes(batch: Batch, head: LinearHead | None) -> int:
    held = sum(tensor.nbytes for part in (batch.inputs, batch.targets) for tensor in tensors_in(part))
    return held + (head.nbytes(batch.inputs) if head is not None else 0)
