"""Distillation: a network learns from the outputs of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.subject import call, device_of, move, undisturbed
from deepscope.training._optimizer_arguments import require


@final
class DistillationLoss(nn.Module):
    """Cross entropy with the labels, and divergence from a teacher's softened probabilities.

    With the student's logits z, the teacher's v, the label y, and p_T(z) = softmax(z/T)::

        L = (1 − α) H(y, p₁(z)) + α T² KL(p_T(v) ‖ p_T(z))

    Mean over all but the last dimension. The gradient of the second term is αT(p_T(z) − p_T(v)): T² keeps its size as
    T grows, and for T → ∞ it is α(z − z̄ − v + v̄)/N for N classes, that of matching the centred logits in squares.
    Source: ``hinton2015distilling``, whose cross entropy with the soft targets differs by what the student cannot
    change.

    Called with the logits, [..., classes], and the pair of labels, integers [...], and teacher's logits,
    [..., classes], as ``with_teacher`` gives them to ``fit``. Labels may be None where α is 1.

    Parameters
    ----------
    temperature
        T.
    soft_weight
        α.

    Raises
    ------
    UsageError
        A number is out of range; or what it is called with is no such pair, has another shape, is a label that no
        class has, or teacher's logits that are NaN or infinite.

    Examples
    --------
    >>> loss = DistillationLoss(temperature=2.0, soft_weight=1.0)
    >>> round(loss(torch.tensor([[0.0, 0.0]]), (None, torch.tensor([[2.0, 0.0]]))).item(), 4)
    0.4438
    """

    def __init__(self, temperature: float = 4.0, soft_weight: float = 0.9) -> None:
        super().__init__()
        valid = math.isfinite(temperature) and temperature > 0
        require(valid, "temperature", temperature, "above 0, and finite", where="DistillationLoss")
        require(0 <= soft_weight <= 1, "soft_weight", soft_weight, "from 0 to 1", where="DistillationLoss")
        self.temperature, self.soft_weight = float(temperature), float(soft_weight)

    def forward(self, logits: Tensor, targets: tuple[Tensor | None, Tensor]) -> Tensor:
        """Return the loss, of shape []."""
        if not isinstance(targets, (tuple, list)) or len(targets) != 2 or not isinstance(targets[1], Tensor):
            raise UsageError(
                f"the targets are a {type(targets).__name__}",
                where="DistillationLoss",
                todo="Give pairs of labels and teacher's logits: with_teacher makes data of them.",
            )
        labels, teacher = targets
        self._require(logits, labels, teacher)
        classes = logits.shape[-1]
        logits = logits.reshape(-1, classes)
        loss = logits.new_zeros(())
        if self.soft_weight > 0:
            student = functional.log_softmax(logits / self.temperature, dim=-1)
            soft = functional.log_softmax(teacher.reshape(-1, classes).to(logits.dtype) / self.temperature, dim=-1)
            divergence = functional.kl_div(student, soft, reduction="batchmean", log_target=True)
            loss = loss + self.soft_weight * self.temperature**2 * divergence
        if self.soft_weight < 1 and labels is not None:
            loss = loss + (1 - self.soft_weight) * functional.cross_entropy(logits, labels.reshape(-1).long())
        return loss

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"temperature={self.temperature:g}, soft_weight={self.soft_weight:g}"

    def _require(self, logits: Tensor, labels: Tensor | None, teacher: Tensor) -> None:
        where = "DistillationLoss"
        shape = list(logits.shape)
        fits = logits.ndim >= 2 and teacher.shape == logits.shape
        require(fits, "the teacher's logits", list(teacher.shape), f"of the student's shape {shape}", where=where)
        require(bool(teacher.isfinite().all()), "a teacher's logit", "not finite", "as finite numbers", where=where)
        if labels is None:
            require(self.soft_weight == 1, "labels", None, "unless soft_weight is 1", where=where)
            return
        whole = not labels.is_floating_point() and labels.shape == logits.shape[:-1]
        require(whole, "labels", f"{labels.dtype} of {list(labels.shape)}", f"as integers {shape[:-1]}", where=where)
        within = bool(((labels >= 0) & (labels < shape[-1])).all())
        require(within, "a label", "out of range", f"from 0 to {shape[-1] - 1}", where=where)


def with_teacher(
    data: Callable[[int], Iterable[Any]], teacher: nn.Module
) -> Callable[[int], Iterator[tuple[Any, tuple[Any, Tensor]]]]:
    """Return the same data for ``fit`` with pairs of targets and teacher's logits in place of the targets.

    Parameters
    ----------
    data
        As for ``fit``.
    teacher
        Maps the same inputs to logits; run in evaluation mode without gradients, and left as it was.

    Raises
    ------
    UsageError
        ``data`` is no function, or the teacher does not give one tensor.

    Notes
    -----
    Costs the teacher's forward pass on every batch of every epoch. Where batches repeat, compute its logits once and
    give them as targets.

    Examples
    --------
    >>> from deepscope.training import fit
    >>> _ = torch.manual_seed(0)
    >>> teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    >>> x, y = torch.randn(32, 4), torch.zeros(32, dtype=torch.int64)
    >>> history = fit(
    ...     student,
    ...     with_teacher(lambda epoch: [(x, y)], teacher),
    ...     DistillationLoss(temperature=2.0, soft_weight=1.0),
    ...     optimizer=torch.optim.Adam(student.parameters(), lr=0.1),
    ...     epochs=100,
    ... )
    >>> history.loss[-1] < 1e-3 < history.loss[0]
    True
    """
    if not callable(data):
        raise UsageError(
            f"data must be a function of the epoch's number that gives its batches, not a {type(data).__name__}",
            where="data of with_teacher",
            todo="Give lambda epoch: batches, as to fit.",
        )

    def taught(epoch: int) -> Iterator[tuple[Any, tuple[Any, Tensor]]]:
        for inputs, targets in data(epoch):
            with undisturbed(teacher), torch.no_grad():
                logits = call(teacher, move(inputs, device_of(teacher)))
            if not isinstance(logits, Tensor):
                raise UsageError(
                    f"the teacher gives a {type(logits).__name__}",
                    where="teacher of with_teacher",
                    todo="Give a module whose output is a tensor of logits.",
                )
            yield inputs, (targets, logits)

    return taught


SPECIMENS = (
    Specimen(
        name="distillation",
        title="learning from a teacher's softened probabilities",
        build=DistillationLoss,
        formula="L = (1 − α)·H(y, p₁(z)) + α·T²·KL(p_T(v) ‖ p_T(z)); p_T = softmax(·/T); logits z, v of the teacher.",
        source="hinton2015distilling",
        pinned_by="tests/training/test_distillation.py::test_at_high_temperature_it_matches_logits",
    ),
)
