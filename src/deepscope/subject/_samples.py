"""Samples of a batch: some of them, and several batches' together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepscope.subject._batches import Batch
from deepscope.subject._loss import n_samples
from deepscope.subject._subject import Subject


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


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and mappings, in order.

    >>> [tensor.item() for tensor in tensors_in({"a": torch.tensor(1), "b": (torch.tensor(2), "text")})]
    [1, 2]
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)


def is_written(value: Any) -> bool:
    """Whether anything has been written into the tensors of a batch since they were made.

    >>> x = torch.zeros(2)
    >>> is_written({"x": x}), is_written({"x": x.add_(1)})
    (False, True)
    """
    return any(tensor._version for tensor in tensors_in(value))


def part_of(subject: Subject, batch: Batch, samples: slice) -> Batch:
    """Return some samples of a batch, with the number of their own terms.

    Targets of n·m entries for n samples are m for each, in order: a language model's, flattened.
    """
    n = batch.n_samples
    inputs = take_samples(batch.inputs, n, samples)
    length = n_samples(batch.targets)
    each = length // n if n and length % n == 0 else 1
    within = slice(samples.start * each, samples.stop * each) if each > 1 else samples
    targets = take_samples(batch.targets, length if each > 1 else n, within)
    taken = len(range(*samples.indices(n)))
    terms = subject.count(targets) if subject.count is not None else n_samples(targets) or taken
    return Batch(inputs, targets, taken, float(terms))


class FirstSamples:
    """The first so many samples of a subject's data, in batches as it gives them, the last one cut.

    Parameters
    ----------
    subject
        Whose data.
    most
        How many; None for all.

    Attributes
    ----------
    is_cut
        Whether the last batch that was given was cut.

    Examples
    --------
    >>> first = FirstSamples(Subject(torch.nn.Identity(), data=[(torch.zeros(4, 2), None)] * 3), 6)
    >>> [batch.n_samples for batch in first], first.is_cut
    ([4, 2], True)
    """

    def __init__(self, subject: Subject, most: int | None) -> None:
        self._subject, self._most, self.is_cut = subject, most, False

    def __iter__(self) -> Iterator[Batch]:
        seen, self.is_cut = 0, False
        for batch in self._subject.batches(self._most):
            left = batch.n_samples if self._most is None else self._most - seen
            self.is_cut = batch.n_samples > left
            yield part_of(self._subject, batch, slice(0, left)) if self.is_cut else batch
            seen += batch.n_samples


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
