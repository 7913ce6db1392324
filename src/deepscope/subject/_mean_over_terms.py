"""Whether the loss of a batch is the mean over its samples' own terms."""

from __future__ import annotations

from typing import Any

import torch

from deepscope.core import MeasurementError
from deepscope.subject._agreement import TOLERANCE
from deepscope.subject._batches import Batch, move
from deepscope.subject._loss import scalar_loss
from deepscope.subject._samples import part_of, take_samples
from deepscope.subject._subject import Subject

#: Terms, and the mean loss over them.
Mean = tuple[float, float]


class NoMeanError(MeasurementError):
    """The loss of a batch is not the mean over its samples' own terms, whichever samples they are."""


def halves(subject: Subject, batch: Batch, outputs: Any) -> list[Mean]:
    """Return the loss of a batch's two halves, from outputs with a row for each sample; of one sample nothing.

    Nothing is written into the outputs and the targets, whatever the loss does with its arguments.
    """
    n, found = batch.n_samples, []
    if n < 2 or subject.loss is None:
        return []
    with torch.no_grad():
        for samples in (slice(0, n // 2), slice(n // 2, n)):
            part = part_of(subject, batch, samples)
            mine, targets = (
                move(each, subject.device, copy=True) for each in (take_samples(outputs, n, samples), part.targets)
            )
            # A mean over no terms is no number.
            found.append((part.count, float(scalar_loss(subject.loss, mine, targets)) if part.count else 0.0))
    return found


def check_mean(subject: Subject, n: int, together: Mean, parts: list[Mean], itemsize: int) -> None:
    """Check that the loss over n samples is the mean of that over two parts of them, weighed by their terms.

    Parameters
    ----------
    subject, n, together, parts
        What is compared.
    itemsize
        Of the loss's dtype, in bytes.

    Raises
    ------
    NoMeanError
        It is not.
    """
    (_, one), (_, other) = parts
    sums = [terms * mean for terms, mean in parts]
    if abs(together[0] * together[1] - sum(sums)) <= TOLERANCE[max(itemsize, 2)] * sum(map(abs, sums)):
        return
    raise NoMeanError(
        f"the loss is not a mean over its terms: {n} samples together give {together[1]:.4g}, "
        f"{'each alone' if n == 2 else 'in two halves'} {one:.4g} and {other:.4g}",
        where=subject.name,
        todo='Give a loss with reduction="mean", and count=… where it averages over something else than samples.',
    )
