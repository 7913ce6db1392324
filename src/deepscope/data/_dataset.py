"""Samples in memory, and the orders in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError, derive_seed

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and their targets, held in memory.

    Attributes
    ----------
    inputs
        [n, …]: one sample per row.
    targets
        [n, …]: the target of each sample.
    name
        What they are called in a report.

    Raises
    ------
    UsageError
        There are not as many targets as inputs.

    Examples
    --------
    >>> samples = Samples(torch.zeros(5, 2), torch.arange(5))
    >>> [targets.tolist() for inputs, targets in samples.batches(2)]
    [[0, 1], [2, 3], [4]]
    """

    inputs: Tensor
    targets: Tensor
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise UsageError(
                f"{len(self.inputs)} inputs but {len(self.targets)} targets",
                where="Samples",
                todo="Give one target per input.",
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int = 256, *, limit: int | None = None) -> Batches:
        """Return the samples in their own order, in batches that share their memory.

        Parameters
        ----------
        batch_size
            Samples per batch; the last batch holds what remains.
        limit
            Only so many samples, from the first on.

        Raises
        ------
        UsageError
            ``batch_size`` or ``limit`` is below 1.
        """
        if limit is None:
            return Batches(self, batch_size)
        _at_least_one("limit", limit)
        return Batches(Samples(self.inputs[:limit], self.targets[:limit], self.name), batch_size)

    def epochs(self, batch_size: int, *, seed: int) -> Epochs:
        """Return a function from an epoch's number to its batches, in an order drawn anew for each epoch.

        Raises
        ------
        UsageError
            ``batch_size`` is below 1.
        """
        return Epochs(self, batch_size, seed)


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches ``(inputs, targets)`` in one order, the same each time they are read.

    Attributes
    ----------
    samples
        Where the batches come from.
    batch_size
        Samples per batch; the last, shorter batch is kept.
    order
        [n] indices of the samples in the order of reading; None for their own order.

    Raises
    ------
    UsageError
        ``batch_size`` is below 1.
    """

    samples: Samples
    batch_size: int
    order: Tensor | None = None

    def __post_init__(self) -> None:
        _at_least_one("batch_size", self.batch_size)

    @property
    def name(self) -> str:
        """What the samples are called in a report."""
        return self.samples.name

    @property
    def n_samples(self) -> int:
        """Number of samples in all batches."""
        return len(self.samples) if self.order is None else len(self.order)

    def __len__(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.n_samples, self.batch_size):
            rows: slice | Tensor = slice(start, start + self.batch_size)
            if self.order is not None:
                rows = self.order[rows]
            yield self.samples.inputs[rows], self.samples.targets[rows]


@dataclass(frozen=True, eq=False)
class Epochs:
    """The batches of each epoch of training: ``epochs(number) -> Batches``.

    The order depends on the seed and the epoch's number alone: not on earlier epochs, nor on torch's global
    generator. Training that was stopped anywhere resumes with exactly the batches that it would have seen.

    Examples
    --------
    >>> epochs = Samples(torch.zeros(5, 2), torch.arange(5)).epochs(2, seed=0)
    >>> [len(targets) for inputs, targets in epochs(3)]
    [2, 2, 1]
    """

    samples: Samples
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _at_least_one("batch_size", self.batch_size)

    def __call__(self, epoch: int) -> Batches:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "data.epochs", epoch))
        return Batches(self.samples, self.batch_size, torch.randperm(len(self.samples), generator=generator))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its fixed split and the loss that belongs to it.

    Attributes
    ----------
    name
        Its name in the catalog.
    train, test
        The split; the same on every machine.
    classes
        What target 0, 1, 2 … means.
    loss
        ``loss(outputs, targets)``: a mean over ``count(targets)`` terms, as a tensor without dimensions.
    count
        How many terms the loss averages over; None where that is the batch's length.
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    loss: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int] | None = None


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} is {value}", where=name, todo="Give a whole number of at least 1.")
