"""Straight lines through the space of a network's inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import DoesNotApplyError, LeftOut, MeasurementError, UsageError, derive_seed
from deepscope.linalg import squared_distances
from deepscope.subject import Batch, FirstSamples, Subject, joined, n_batches, take_samples, tensors_in

Floats = NDArray[np.float64]

_ONE_SAMPLE = "Give one sample's inputs."


class Samples:
    """The first samples of the data, as points of a space: their floating-point inputs.

    Parameters
    ----------
    subject
        Whose data.
    most
        How many.

    Attributes
    ----------
    batches
        They as the network is to be run on them.
    inputs
        Their inputs as one batch.
    n
        How many there are.
    squared, n_features
        Squared distances between them, [n, n], over all floating-point inputs together; and how many those are.
    left_out
        What was passed over, and why.

    Raises
    ------
    DoesNotApplyError
        The inputs are whole numbers, between which there is nothing.
    """

    def __init__(self, subject: Subject, most: int) -> None:
        data = FirstSamples(subject, most)
        every = list(data)
        self.batches = _alike(every)
        self.n = sum(batch.n_samples for batch in self.batches)
        lengths = [batch.n_samples for batch in self.batches]
        together = joined([batch.inputs for batch in self.batches], lengths)
        # What holds more than samples stays the one batch that it is.
        self.inputs = self.batches[0].inputs if together is None else together
        notes = []
        others = sum(batch.n_samples for batch in every) - self.n
        if others:
            notes.append(LeftOut("data", f"{others:,} samples of another shape than the first"))
        if data.is_cut or len(every) < (n_batches(subject.data) or 0):
            notes.append(LeftOut("data", f"the samples after the first {sum(batch.n_samples for batch in every):,}"))
        parts = [each for each in tensors_in(self.inputs) if each.ndim and len(each) == self.n]
        self._features = features = [each for each in parts if each.is_floating_point()]
        if not features:
            raise DoesNotApplyError(
                "the inputs are whole numbers, between which there are no lines",
                where=subject.name,
                todo="Examine the part of the network behind its embedding, on floating-point inputs.",
            )
        if len(features) < len(parts):
            notes.append(LeftOut("inputs", "whole numbers: along a line they stay those of its first sample"))
        wide = (each.float() if each.dtype.itemsize < 4 else each for each in features)
        self.squared = squared_distances([each.cpu().numpy() for each in wide])
        self.n_features = sum(each[0].numel() for each in features)
        self.left_out = tuple(notes)

    def points(self) -> Floats:
        """Return the samples' floating-point inputs, [n, features]."""
        rows = [each.reshape(self.n, -1).double().cpu().numpy() for each in self._features]
        return np.concatenate(rows, axis=1)

    def sample(self, index: int) -> Any:
        """Return one sample's inputs, a batch of one."""
        return take_samples(self.inputs, self.n, slice(index, index + 1))


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of one length through the inputs' space; at the points (j + ½)/n of the way, j = 0 … n − 1.

    Attributes
    ----------
    ends
        Inputs at the beginning and the end of each line, batches of one.
    length
        Of each, in units of the inputs' Euclidean distance.
    like
        One sample, whose dtypes the inputs along a line have.
    n_features
        Of a sample.
    """

    ends: tuple[tuple[Any, Any], ...]
    length: float
    like: Any
    n_features: int

    def __len__(self) -> int:
        return len(self.ends)

    def inputs(self, start: int, count: int, points: int) -> Any:
        """Return the inputs along so many lines, as one batch, line after line."""
        places = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        lines = [_along(a, b, self.like, places) for a, b in self.ends[start : start + count]]
        return _one_after_the_other(lines, self.like)


def lines_between_samples(samples: Samples, count: int, length: float | None, seed: int) -> Lines:
    """Lay lines through pairs of samples: centred halfway between the two, all of one length.

    That length is the median distance between two samples unless given. Pairs are drawn so that each sample is in as
    few as possible; samples that coincide make none.

    Raises
    ------
    MeasurementError
        There are no two samples that differ.
    """
    apart = np.sqrt(samples.squared[np.triu_indices(samples.n, 1)])
    if not np.any(apart > 0):
        raise MeasurementError(
            "there is one sample, and no line between two" if samples.n == 1 else "all samples are the same",
            where="frequency",
            todo="Give samples that differ, or a line=(a, b) of your own.",
        )
    span = float(np.median(apart[apart > 0])) if length is None else length
    generator = torch.Generator().manual_seed(derive_seed(seed, "lines"))
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        order = torch.randperm(samples.n, generator=generator).tolist()
        pairs += [pair for pair in zip(order[::2], order[1::2], strict=False) if samples.squared[pair] > 0]
    ends = []
    for i, j in pairs[:count]:
        reach = span / math.sqrt(samples.squared[i, j]) / 2
        a, b = samples.sample(i), samples.sample(j)
        ends.append((_between(a, b, 0.5 - reach), _between(a, b, 0.5 + reach)))
    return Lines(tuple(ends), span, samples.sample(0), samples.n_features)


def lines_in_random_directions(samples: Samples, count: int, length: float | None, seed: int) -> Lines:
    """Lay lines centred on samples, in directions even over the sphere; lengths as for ``lines_between_samples``.

    Raises
    ------
    MeasurementError
        No length is given, and there are no two samples that differ.
    """
    if length is None:
        length = lines_between_samples(samples, 1, None, seed).length
    generator = torch.Generator().manual_seed(derive_seed(seed, "lines"))
    order = torch.randperm(samples.n, generator=generator).tolist()
    ends = []
    for place in range(count):
        centre = samples.sample(order[place % samples.n])
        direction = _mapped(
            centre,
            centre,
            lambda x, _: torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device),
        )
        norm = math.sqrt(sum(float(torch.sum(each**2)) for each, _ in _pairs(direction, direction)))
        reach = length / (2 * norm)
        ends.append((_moved(centre, direction, -reach), _moved(centre, direction, reach)))
    return Lines(tuple(ends), length, samples.sample(0), samples.n_features)


def line_given(samples: Samples, line: tuple[Any, Any]) -> Lines:
    """Take the line from one input to another, each shaped as one sample.

    Raises
    ------
    UsageError
        They are not shaped as a sample is, or are the same.
    """
    if not isinstance(line, (tuple, list)) or len(line) != 2:
        raise UsageError("a line has two ends", where="line", todo="Give line=(a, b), each one sample's inputs.")
    like = samples.sample(0)
    a, b = (_as_sample(end, like) for end in line)
    squared = sum(float(torch.sum((y.double() - x.double()) ** 2)) for x, y in _pairs(a, b))
    if not squared > 0 or not math.isfinite(squared):
        raise UsageError("a line's ends must differ and be finite", where="line")
    return Lines(((a, b),), math.sqrt(squared), like, samples.n_features)


def _alike(batches: list[Batch]) -> list[Batch]:
    """Return the batches whose samples are shaped as those of the first."""
    first = batches[0]

    def fits(batch: Batch) -> bool:
        return joined([first.inputs, batch.inputs], [first.n_samples, batch.n_samples]) is not None

    return [batch for batch in batches if fits(batch)] or [first]


def _as_sample(value: Any, like: Any) -> Any:
    """Return an end of a line as a batch of one, shaped as ``like``."""
    if isinstance(like, Tensor):
        try:
            tensor = torch.as_tensor(value, dtype=torch.float64 if like.is_floating_point() else like.dtype)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError("an end of the line is no tensor", where="line", todo=_ONE_SAMPLE) from error
        if tensor.shape == like.shape[1:]:
            tensor = tensor.unsqueeze(0)
        if tensor.shape != like.shape:
            raise UsageError(
                f"an end of the line has the shape {list(tensor.shape)}",
                where="line",
                todo=f"Give one sample's inputs, {list(like.shape[1:])}.",
            )
        return tensor.to(like.device)
    if isinstance(like, Mapping) and isinstance(value, Mapping) and like.keys() == value.keys():
        return {key: _as_sample(value[key], like[key]) for key in like}
    if isinstance(like, (tuple, list)) and isinstance(value, (tuple, list)) and len(like) == len(value):
        return type(like)([_as_sample(v, each) for v, each in zip(value, like, strict=True)])
    raise UsageError("an end of the line is not made as a sample is", where="line", todo=_ONE_SAMPLE)


def _pairs(a: Any, b: Any) -> list[tuple[Tensor, Tensor]]:
    found: list[tuple[Tensor, Tensor]] = []
    _mapped(a, b, lambda x, y: found.append((x, y)))
    return found


def _between(a: Any, b: Any, place: float) -> Any:
    return _mapped(a, b, lambda x, y: x.double() + place * (y.double() - x.double()))


def _moved(centre: Any, direction: Any, by: float) -> Any:
    return _mapped(centre, direction, lambda x, u: x.double() + by * u)


def _along(a: Any, b: Any, like: Any, places: Tensor) -> Any:
    n = len(places)

    def stretched(x: Tensor, y: Tensor) -> Tensor:
        t = places.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
        return x + t * (y - x)

    line = _mapped(a, b, stretched)
    return _mapped(like, line, lambda x, points: points.to(x.dtype), lambda x: x.expand(n, *x.shape[1:]).clone())


def _one_after_the_other(lines: list[Any], like: Any) -> Any:
    """Return the batches of several lines as one; what is not one row per sample is that of the first."""
    if isinstance(like, Tensor):
        return torch.cat(lines) if _is_sampled(like) else lines[0]
    if isinstance(like, Mapping):
        return {key: _one_after_the_other([line[key] for line in lines], like[key]) for key in like}
    if isinstance(like, (tuple, list)):
        parts = zip(*lines, strict=True)
        made = [_one_after_the_other(list(part), each) for part, each in zip(parts, like, strict=True)]
        return type(like)(*made) if hasattr(like, "_fields") else type(like)(made)
    return like


def _is_sampled(tensor: Tensor) -> bool:
    """Whether a tensor in a batch of one has a row per sample."""
    return tensor.ndim > 0 and tensor.shape[0] == 1


def _mapped(a: Any, b: Any, change: Any, other: Any = lambda it: it) -> Any:
    """Apply a function to the floating-point tensors of two batches of one, and another to whole numbers of the first.

    What is not one row per sample is passed on as it is.
    """
    if isinstance(a, Tensor):
        if not _is_sampled(a):
            return a
        return change(a, b) if a.is_floating_point() else other(a)
    if isinstance(a, Mapping):
        return {key: _mapped(a[key], b[key], change, other) for key in a}
    if isinstance(a, (tuple, list)):
        made = [_mapped(x, y, change, other) for x, y in zip(a, b, strict=True)]
        return type(a)(*made) if hasattr(a, "_fields") else type(a)(made)
    return a
