"""Mixup: training on lines between samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from deepscope.core import Specimen
from deepscope.training._mixing import Mixing, as_numbers, check_batch, draw_partners, draw_share, mixed


@dataclass(frozen=True)
class Mixup(Mixing):
    """Data whose batches are mixed: x̃ = λ x + (1 − λ) x′, ỹ = λ y + (1 − λ) y′ with λ ~ Beta(α, α).

    Each batch draws one λ, and a partner x′ for each sample by a permutation of the batch, from torch's generator: in
    ``fit`` a run and one that was interrupted draw the same. Class indices become probabilities [n, classes], which
    torch's ``cross_entropy`` takes; it is linear in them, so that the loss is λ times that against y and 1 − λ times
    that against y′. Source: ``zhang2018mixup``.

    Parameters
    ----------
    data
        What maps an epoch's number to its batches ``(inputs, targets)``, as ``fit`` takes it: tensors [n, …]; inputs
        and targets of floating-point numbers, or targets that are class indices [n].
    alpha
        α: near 0 samples stay almost as they are, at 1 all λ are equally likely, above it ½ is the likeliest.
    classes
        Number of classes, where targets are class indices.

    Raises
    ------
    UsageError
        α is not a finite number above 0, or the number of classes is below 1; when read: batches of another kind.

    Examples
    --------
    >>> import torch
    >>> batches = [(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))]
    >>> inputs, targets = next(iter(Mixup(lambda epoch: batches, alpha=0.2, classes=3)(0)))
    >>> inputs.shape, targets.shape, torch.allclose(targets.sum(1), torch.ones(4))
    (torch.Size([4, 3]), torch.Size([4, 3]), True)
    """

    def mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch, mixed."""
        check_batch(inputs, targets, True, "[n, …]", "Mixup")
        numbers = as_numbers(targets, self.classes, inputs.dtype, "Mixup")
        share, partners = draw_share(self.alpha), draw_partners(inputs)
        return mixed(inputs, inputs[partners], share), mixed(numbers, numbers[partners], share)


SPECIMENS = (
    Specimen(
        name="mixup",
        title="training on lines between samples",
        build=Mixup,
        formula="x̃ = λ x + (1 − λ) x′, ỹ = λ y + (1 − λ) y′, λ ~ Beta(α, α), x′ a partner from the same batch.",
        source="zhang2018mixup",
        pinned_by="tests/training/test_mixup.py::test_batches_lie_on_lines_between_samples_and_so_do_their_losses",
    ),
)
