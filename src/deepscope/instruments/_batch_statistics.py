"""Batch normalisation's statistics, estimated anew for a network that was never trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from deepscope.subject import Batch, Subject

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class BatchStatistics:
    """The running means and variances of a network's batch normalisation.

    Parameters
    ----------
    model
        The network; its modules are put back as they were.
    """

    def __init__(self, model: nn.Module) -> None:
        self._norms = {
            name: each
            for name, each in model.named_modules()
            if isinstance(each, _BATCH_NORM) and each.running_mean is not None
        }

    def __bool__(self) -> bool:
        """Whether the network has any."""
        return bool(self._norms)

    def fresh(self) -> dict[str, Tensor]:
        """Return copies of the statistics by name, into which a network may write instead of its own."""
        return {
            f"{name}.{leaf}": buffer.detach().clone()
            for name, norm in self._norms.items()
            for leaf, buffer in norm.named_buffers(recurse=False)
        }

    @contextmanager
    def by_batch(self, momentum: float | None = None) -> Iterator[None]:
        """Normalise by the statistics of each batch, and move the running ones by ``momentum``, or each norm's own."""
        before = [(norm, norm.training, norm.momentum) for norm in self._norms.values()]
        try:
            for norm in self._norms.values():
                norm.training = True
                norm.momentum = norm.momentum if momentum is None else momentum
            yield
        finally:
            for norm, training, own in before:
                norm.training, norm.momentum = training, own

    def estimate(self, subject: Subject, batches: Sequence[Batch]) -> None:
        """Make the running statistics the mean of those of the batches, each weighted by its samples.

        It is what Garipov et al. (2018) do at every point of a path. They are written into the tensors that the model
        holds while it is called.
        """
        seen = 0
        for batch in batches:
            seen += batch.n_samples
            with self.by_batch(batch.n_samples / seen):
                subject.predict(batch.inputs)


def has_batch_norm(model: Any) -> bool:
    """Whether a network normalises by running statistics."""
    return bool(BatchStatistics(model))
