"""Each process's part of every batch, and the loss whose mean over the processes is that of the whole batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed

from deepscope.core import DataError, UsageError
from deepscope.subject import n_samples, take_samples, tensors_in
from deepscope.training._fit import Data
from deepscope.training._loss import Count, Loss, n_terms


class Shards:
    """Data and loss of one process among those of the default group.

    Every process reads the whole batch and takes its samples: parts whose sizes differ by one at most. Their losses are
    weighted by their numbers of terms, so that the mean of the processes' gradients is the gradient of the mean over
    all terms, also where parts are uneven.

    Parameters
    ----------
    data, loss, count
        As for ``fit``.
    device
        Where messages between processes are made.

    Raises
    ------
    UsageError
        ``data`` is no function.
    """

    def __init__(self, data: Data, loss: Loss, count: Count | None, device: torch.device) -> None:
        if not callable(data):
            raise UsageError(
                f"data must be a function of the epoch's number that gives its batches, not a {type(data).__name__}",
                where="data of fit_distributed",
                todo="Give samples.epochs(batch_size, seed=…) of deepscope.data, or lambda epoch: batches.",
            )
        self._data, self._loss, self._count, self._device = data, loss, count, device
        self._rank, self._size = distributed.get_rank(), distributed.get_world_size()
        self._own_terms, self.terms = 1.0, 1.0

    def data(self, epoch: int) -> Iterator[tuple[Any, Any]]:
        """Give this process's part of every batch.

        Raises
        ------
        DataError
            The processes are given other batches, or fewer samples than there are processes.
        """
        index = 0
        for index, batch in enumerate(self._data(epoch), start=1):
            where = f"epoch {epoch}, batch {index - 1}"
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                # The loop, which gets it, says what is wrong with it.
                yield batch  # type: ignore[misc]
                continue
            inputs, targets = batch
            n = n_samples(inputs) or n_samples(targets)
            self._require_same(n, _checksum(batch), where)
            if n < self._size:
                raise DataError(
                    f"a batch of {n} cannot be shared among {self._size} processes",
                    where=where,
                    todo="Give larger batches, leave the last one out, or start fewer processes.",
                )
            part = slice(n * self._rank // self._size, n * (self._rank + 1) // self._size)
            own = take_samples(inputs, n, part), _targets_of(targets, n, part)
            self.terms = n_terms(inputs, targets, self._count)
            self._own_terms = self._terms_of(*own)
            yield own
        self._require_same(0, 0, f"epoch {epoch}, batch {index}")

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the mean loss of the whole batch; its gradient is this process's share of it, times their number."""
        own = self._loss(outputs, targets)
        # A mean over no terms is no number, and counts nothing.
        own = own * (self._own_terms * self._size / self.terms) if self._own_terms else torch.nan_to_num(own) * 0
        mean = own.detach().clone()
        distributed.all_reduce(mean)
        # In this order the value is the mean, to the last bit the same in all processes.
        return own - own.detach() + mean / self._size

    def _terms_of(self, inputs: Any, targets: Any) -> float:
        return float(self._count(targets)) if self._count is not None else n_terms(inputs, targets, None)

    def _require_same(self, n: int, checksum: int, where: str) -> None:
        mine = torch.tensor([n, checksum], device=self._device)
        all_of_them = [torch.empty_like(mine) for _ in range(self._size)]
        distributed.all_gather(all_of_them, mine)
        for rank, theirs in enumerate(all_of_them):
            if not torch.equal(theirs, all_of_them[0]):
                sizes = [int(each[0]) for each in (all_of_them[0], theirs)]
                one, other = (f"a batch of {size}" if size else "no more batches" for size in sizes)
                values = " with other values" if sizes[0] == sizes[1] else ""
                raise DataError(
                    f"process 0 is given {one}, and process {rank} {other}{values}",
                    where=where,
                    todo="Give data(epoch) that is the same in all processes: samples.epochs(batch_size, seed=…).",
                )


def _targets_of(targets: Any, n: int, part: slice) -> Any:
    """Return the targets of some samples; n·m entries for n samples are m for each, a language model's, flattened."""
    length = n_samples(targets)
    each = length // n if length and length % n == 0 else 1
    return take_samples(targets, n * each, slice(part.start * each, part.stop * each))


def _checksum(batch: Any) -> int:
    found = 0
    for tensor in tensors_in(batch):
        found = zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), found)
    return found
