"""CutMix: a rectangle of each image is replaced by that of another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import Specimen
from deepscope.training._mixing import Mixing, as_numbers, check_batch, draw_partners, draw_share, mixed


@dataclass(frozen=True)
class CutMix(Mixing):
    """Data whose images have a rectangle of another image each, and targets in proportion to the areas.

    λ ~ Beta(α, α); the rectangle is h√(1 − λ) high and w√(1 − λ) wide, rounded down, and lies around a place of the
    image that is drawn uniformly, clipped at the border. λ then becomes 1 − the rectangle's share of the image, and
    ỹ = λ y + (1 − λ) y′. Each batch draws one rectangle, and partners by a permutation, from torch's generator: in
    ``fit`` a run and one that was interrupted draw the same. Source: ``yun2019cutmix``; how sides and borders are
    rounded is that of the authors' code.

    Parameters
    ----------
    data
        What maps an epoch's number to its batches ``(images, targets)``, as ``fit`` takes it: images [n, channels,
        height, width], targets of floating-point numbers or class indices [n].
    alpha
        α.
    classes
        Number of classes, where targets are class indices.

    Raises
    ------
    UsageError
        α is not a finite number above 0, or the number of classes is below 1; when read: batches of another kind.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> batches = [(torch.arange(2.0).reshape(2, 1, 1, 1).expand(2, 1, 4, 4), torch.tensor([0, 1]))]
    >>> images, targets = next(iter(CutMix(lambda epoch: batches, classes=2)(0)))
    >>> torch.equal(images[1].mean(), targets[1, 1])
    True
    """

    def mix(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch, mixed."""
        fits = isinstance(inputs, Tensor) and inputs.ndim == 4 and min(inputs.shape[2:]) > 0
        check_batch(inputs, targets, fits, "images [n, channels, height, width]", "CutMix")
        numbers = as_numbers(targets, self.classes, inputs.dtype, "CutMix")
        height, width = inputs.shape[2:]
        share, partners = draw_share(self.alpha), draw_partners(inputs)
        rows, columns = _span(height, share), _span(width, share)
        cut = inputs.clone()
        cut[:, :, rows, columns] = inputs[partners][:, :, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return cut, mixed(numbers, numbers[partners], 1 - area / (height * width))


def _span(side: int, share: float) -> slice:
    """Draw where the rectangle begins and ends along one side."""
    half = int(side * math.sqrt(1 - share)) // 2
    middle = int(torch.randint(side, ()).item())
    return slice(max(middle - half, 0), min(middle + half, side))


SPECIMENS = (
    Specimen(
        name="cutmix",
        title="training on images with a rectangle of another",
        build=CutMix,
        formula="x̃ = M ∘ x + (1 − M) ∘ x′, ỹ = λ y + (1 − λ) y′: M is 0 in a rectangle of sides h√(1 − λ), w√(1 − λ) "
        "around a place drawn uniformly, λ ~ Beta(α, α), and then the mean of M.",
        source="yun2019cutmix",
        pinned_by="tests/training/test_cutmix.py::test_targets_have_the_share_of_the_pixels",
    ),
)
