"""Images somewhere on a larger canvas, and the same canvas with its pixels in another order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deepscope.core import UsageError, nearest
from deepscope.data import Dataset, Samples

KINDS = ("shifted", "still", "permuted")
#: Pixels around an image that is not shifted.
MARGIN = 3


@dataclass(frozen=True)
class ShiftedImages:
    """Training images with one shift each, and others with every shift.

    Attributes
    ----------
    train, validation, test
        Inputs [n, 1, side, side]; shifted and scaled so that the pixels of the training images have mean 0 and variance
        1.
    n_classes
        Number of classes.
    """

    train: Samples
    validation: Samples
    test: Samples
    n_classes: int

    @property
    def side(self) -> int:
        """Height and width of the canvas."""
        return self.train.inputs.shape[-1]


def draw_images(
    data: Dataset,
    *,
    kind: str,
    reach: int,
    n_train: int,
    n_validation: int,
    n_test: int,
    generator: torch.Generator,
) -> ShiftedImages:
    """Draw images, and put them on a canvas that is wider by 3 pixels on each side.

    Parameters
    ----------
    data
        Square grey images; its split is not used.
    kind
        ``"shifted"``: up to ``reach`` pixels each way, a training image by one shift that is drawn, all others by each
        of the (2 reach + 1)² shifts in turn. ``"still"``: none is shifted. ``"permuted"``: as ``"shifted"``, then the
        pixels of all canvases are put in one random order.
    reach
        Largest shift, at most 3.
    n_train, n_validation, n_test
        Number of images. More training images are the fewer and others; the validation and test images are the same.
    generator
        Of images, shifts and order: each is the same in all kinds.

    Raises
    ------
    UsageError
        An unknown kind, a reach beyond the canvas, or more images than there are.
    """
    if kind not in KINDS:
        raise UsageError("unknown kind of images", where=kind, todo=nearest(kind, KINDS))
    if not 0 <= reach <= MARGIN:
        raise UsageError(f"shifts reach {reach} pixels", where="reach", todo=f"Give 0 to {MARGIN}.")
    images = torch.cat([data.train.inputs, data.test.inputs])
    targets = torch.cat([data.train.targets, data.test.targets])
    wanted = n_train + n_validation + n_test
    if min(n_train, n_validation, n_test) < 1 or wanted > len(images):
        raise UsageError(
            f"{n_train} + {n_validation} + {n_test} images are asked for",
            where=data.name,
            todo=f"Give at least 1 of each and at most {len(images)} together.",
        )
    order = torch.randperm(len(images), generator=generator)
    shifts = torch.randint(-reach, reach + 1, (len(images), 2), generator=generator)
    pixels = torch.randperm((images.shape[-1] + 2 * MARGIN) ** 2, generator=generator)
    if kind == "still":
        shifts, reach = torch.zeros_like(shifts), 0
    held = order[len(order) - n_validation - n_test :]
    drawn = torch.stack([on_canvas(images[i], *shifts[i].tolist()) for i in order[:n_train].tolist()])
    parts = [(drawn, targets[order[:n_train]])]
    for chosen in (held[:n_validation], held[n_validation:]):
        every = [on_canvas(images[chosen], down, right) for down, right in all_shifts(reach)]
        parts.append((torch.cat(every), targets[chosen].repeat(len(every))))
    mean, deviation = drawn.mean(), drawn.std(correction=0)
    parts = [((inputs - mean) / deviation, classes) for inputs, classes in parts]
    if kind == "permuted":
        parts = [(inputs.flatten(1)[:, pixels].view_as(inputs), classes) for inputs, classes in parts]
    train, validation, test = (Samples(inputs, classes, data.name) for inputs, classes in parts)
    return ShiftedImages(train, validation, test, len(data.classes))


def on_canvas(images: Tensor, down: int, right: int) -> Tensor:
    """Return images [..., height, width] on a canvas of zeros, so far down and to the right of its middle."""
    return functional.pad(images, (MARGIN + right, MARGIN - right, MARGIN + down, MARGIN - down))


def all_shifts(reach: int) -> list[tuple[int, int]]:
    """Return every shift down and to the right by at most so many pixels.

    >>> len(all_shifts(2)), all_shifts(0)
    (25, [(0, 0)])
    """
    one = range(-reach, reach + 1)
    return [(down, right) for down in one for right in one]
