"""Loss and accuracy of a model over data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import MeasurementError
from deepscope.subject import batches_of, call, check_reiterable, device_of, scalar_loss, undisturbed
from deepscope.training._loss import Count, Loss

#: The value that torch's losses take for "no target here".
IGNORED = -100


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on data.

    Attributes
    ----------
    loss
        Mean over all ``n`` terms; None where no loss was given.
    accuracy
        Share of the class targets that are not ignored (-100) whose largest output is theirs; None where the targets
        are not classes.
    n
        Number of terms that the loss averages over.
    """

    loss: float | None
    accuracy: float | None
    n: int


def evaluate(
    model: nn.Module, batches: Iterable[Any], loss: Loss | None = None, count: Count | None = None
) -> Evaluation:
    """Evaluate a model on data, and leave it and every random generator as they were.

    Parameters
    ----------
    model
        Run in evaluation mode without gradients.
    batches
        Re-iterable pairs ``(inputs, targets)``; see ``Subject``.
    loss
        ``loss(outputs, targets)``, a mean over ``count(targets)`` terms.
    count
        Number of terms of a batch; the batch length unless given. Batches are weighted by it, so the result does
        not depend on how the data is cut.

    Returns
    -------
    Evaluation
        Classes are integer targets of shape [...] with outputs [..., classes], or [batch, classes, ...] as in torch's
        cross entropy.

    Raises
    ------
    MeasurementError
        There is no data, or the loss is not one finite number.
    UsageError
        The data can be iterated only once.

    Notes
    -----
    Costs one forward pass over the data.

    Examples
    --------
    >>> inputs, targets = torch.eye(3), torch.tensor([0, 1, 1])
    >>> evaluate(nn.Identity(), [(inputs[:2], targets[:2]), (inputs[2:], targets[2:])], nn.functional.cross_entropy)
    Evaluation(loss=0.8847780227661133, accuracy=0.6666666666666666, n=3)
    """
    check_reiterable(batches)
    total, n, right, judged = 0.0, 0.0, 0, 0
    with undisturbed(model), torch.no_grad():
        for index, batch in enumerate(batches_of(batches, device=device_of(model), count=count)):
            outputs = call(model, batch.inputs)
            if loss is not None and batch.count:
                value = scalar_loss(loss, outputs, batch.targets).item()
                if not math.isfinite(value):
                    raise MeasurementError(
                        f"the loss is {value}", where=f"batch {index}", todo="Look at the inputs and the weights."
                    )
                total += value * batch.count
            n += batch.count
            hits, classes = _hits(outputs, batch.targets)
            right, judged = right + hits, judged + classes
    return Evaluation(total / n if loss is not None and n else None, right / judged if judged else None, round(n))


def _hits(outputs: Any, targets: Any) -> tuple[int, int]:
    """Count the right answers, and the targets that have one."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.ndim != targets.ndim + 1:
        return 0, 0
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        return 0, 0
    if outputs.shape[:-1] == targets.shape:
        predicted = outputs.argmax(-1)
    elif outputs.shape[:1] + outputs.shape[2:] == targets.shape:
        predicted = outputs.argmax(1)
    else:
        return 0, 0
    counted = targets != IGNORED
    return int(((predicted == targets) & counted).sum()), int(counted.sum())
