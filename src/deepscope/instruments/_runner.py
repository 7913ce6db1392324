"""A model run over chunks of data while other tensors stand in for its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import Stopwatch
from deepscope.instruments._batch_statistics import BatchStatistics
from deepscope.instruments._chunks import sample_counts, sample_losses
from deepscope.instruments._parameter_space import ParameterSpace, Tensors, cast
from deepscope.subject import Batch, Subject, move, scalar_loss

Floats = NDArray[np.float64]

# A mean over a chunk and the mean of its samples' losses differ by the rounding of sums in another order.
_SAME = 1e-4


class Runner(nn.Module):
    """Runs a subject's model and loss over chunks of data at one point of its space of parameters.

    Parameters
    ----------
    subject, space
        What is measured; it must be in its undisturbed context.
    statistics
        Batch normalisation's, where they are estimated anew at every point.
    stopwatch
        Counts the passes.
    seed
        Of the random numbers, where ``seeded`` is set.

    Attributes
    ----------
    seeded
        Whether every run starts all of torch's random numbers anew.
    copied
        Whether every run gets copies of the data, because the model writes into them.
    """

    def __init__(
        self,
        subject: Subject,
        space: ParameterSpace,
        statistics: BatchStatistics | None,
        stopwatch: Stopwatch,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = subject.model
        self.seeded = self.copied = False
        self._subject, self._space, self._statistics = subject, space, statistics
        self._stopwatch, self._seed = stopwatch, seed

    def run(
        self,
        point: Tensors,
        chunks: Sequence[Batch],
        *,
        of_samples: bool = False,
        first_layer: tuple[list[Tensor], Sequence[Tensor]] | None = None,
    ) -> list[Floats]:
        """Return the losses of every chunk: [n] by sample where asked for and possible, else [1].

        Parameters
        ----------
        point
            The parameters that may move, by name.
        chunks
            The data.
        of_samples
            Tell the samples' losses apart.
        first_layer
            Where the first layer's outputs are put, and what they are for each chunk.
        """
        if self.seeded:
            torch.manual_seed(self._seed)
        self._stopwatch.count(forward=len(chunks))
        values = {f"model.{name}": tensor for name, tensor in self._stand_ins(point).items()}
        with torch.no_grad():
            found: list[Floats] = torch.func.functional_call(
                self, values, (self._fresh(chunks), of_samples, first_layer)
            )
        return found

    def forward(
        self, chunks: Sequence[Batch], of_samples: bool, first_layer: tuple[list[Tensor], Sequence[Tensor]] | None
    ) -> list[Floats]:
        """Run all chunks; what ``run`` calls while the point's tensors stand in for the model's."""
        if self._statistics:
            self._statistics.estimate(self._subject, chunks)
        losses = []
        for index, batch in enumerate(chunks):
            if first_layer is not None:
                given, outputs = first_layer
                given[:] = [outputs[index]]
            losses.append(self._losses(batch, of_samples))
        return losses

    def _stand_ins(self, point: Tensors) -> Tensors:
        values = {**self._space.fixed, **point}
        for name, others in self._space.aliases.items():
            values.update(dict.fromkeys(others, values[name]))
        if self._statistics is not None:
            values.update(cast(self._statistics.fresh(), self._space.dtype))
        return values

    def _fresh(self, chunks: Sequence[Batch]) -> Sequence[Batch]:
        return [copied(each, self._subject.device) for each in chunks] if self.copied else chunks

    def _losses(self, batch: Batch, of_samples: bool) -> Floats:
        if not batch.count:
            return np.zeros(batch.n_samples if of_samples else 1)
        assert self._subject.loss is not None
        outputs = self._subject.predict(batch.inputs)
        whole = float(scalar_loss(self._subject.loss, outputs, batch.targets))
        apart = sample_losses(self._subject, batch, outputs) if of_samples else None
        if apart is None:
            return np.array([whole])
        values = apart.double().cpu().numpy()
        counts = sample_counts(self._subject, batch)
        mean = float(np.where(counts > 0, values, 0.0) @ counts) / batch.count
        same = math.isclose(mean, whole, rel_tol=_SAME, abs_tol=1e-9)
        return values if same or not math.isfinite(whole) else np.array([whole])


def copied(batch: Batch, device: torch.device) -> Batch:
    """Return a batch whose tensors are copies."""
    inputs, targets = (move(part, device, copy=True) for part in (batch.inputs, batch.targets))
    return replace(batch, inputs=inputs, targets=targets)
