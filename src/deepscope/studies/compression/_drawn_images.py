"""Images of a dataset, drawn by a seed, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from deepscope.core import UsageError
from deepscope.data import Dataset, Samples, load


def draw_images(name: str, n_train: int, n_test: int, generator: torch.Generator) -> tuple[Samples, Samples]:
    """Draw training and test images from all of a dataset; the training images' pixels get mean 0 and variance 1.

    Parameters
    ----------
    name
        Of the dataset, whose own split is not kept.
    n_train, n_test
        How many.
    generator
        What they are drawn from, on the CPU.

    Raises
    ------
    UsageError
        There are not so many.

    Examples
    --------
    >>> train, test = draw_images("digits", 1200, 597, torch.Generator().manual_seed(0))
    >>> tuple(train.inputs.shape), len(test), round(train.inputs.std().item(), 3)
    ((1200, 1, 8, 8), 597, 1.0)
    """
    data = _dataset(name)
    inputs = torch.cat([data.train.inputs, data.test.inputs])
    targets = torch.cat([data.train.targets, data.test.targets])
    if min(n_train, n_test) < 1 or n_train + n_test > len(inputs):
        raise UsageError(
            f"{n_train} training and {n_test} test images are asked for",
            where=data.name,
            todo=f"Give at least 1 of each, and at most {len(inputs)} together.",
        )
    chosen = torch.randperm(len(inputs), generator=generator)
    train, test = chosen[:n_train], chosen[n_train : n_train + n_test]
    mean, deviation = inputs[train].mean(), inputs[train].std(correction=0)
    return (
        Samples((inputs[train] - mean) / deviation, targets[train], data.name),
        Samples((inputs[test] - mean) / deviation, targets[test], data.name),
    )


def row_batches(n: int, batch_size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield as many batches of row numbers as steps: one random order after another, cut where a batch is full.

    A batch is never larger than n, and what remains of an order is not used.

    >>> [len(rows) for rows in row_batches(5, 2, 4, seed=0)]
    [2, 2, 2, 2]
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(n, batch_size)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(n, generator=generator)
        yield order[:size]
        order = order[size:]


@lru_cache(maxsize=1)
def _dataset(name: str) -> Dataset:
    # Reading a large one takes longer than some trials.
    return load(name)
