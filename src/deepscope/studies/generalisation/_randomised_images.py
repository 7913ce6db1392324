"""Images whose labels or pixels are replaced by chance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError, nearest
from deepscope.data import Dataset, Samples

INPUTS = ("images", "shuffled", "gaussian")
LABELS = ("classes", "signs")


@dataclass(frozen=True, eq=False)
class RandomisedImages:
    """A training set, a held-out one under the same law, and a test set with true labels.

    Attributes
    ----------
    train
        Images that are trained on.
    held_out
        Other images, randomised as the training images are; for early stopping.
    test
        The dataset's test images, with their true labels.
    n_classes
        Number of different labels.
    """

    train: Samples
    held_out: Samples
    test: Samples
    n_classes: int


def randomise(
    data: Dataset,
    *,
    n_train: int,
    n_held_out: int,
    labels: str = "classes",
    corruption: float = 0.0,
    inputs: str = "images",
    generator: torch.Generator,
) -> RandomisedImages:
    """Draw a training and a held-out set from a dataset's training part, and randomise them.

    Of one state of the generator the same images are drawn whatever the rest, and the labels that a corruption of q
    replaces are among those that a larger one does, by the same random label.

    Parameters
    ----------
    data
        Images and their classes.
    n_train, n_held_out
        Number of images.
    labels
        ``"classes"``, or ``"signs"``: two classes drawn by tosses of a coin, for the test images as well.
    corruption
        Share of the labels replaced by a class drawn uniformly from all of them, the right one included. The test
        labels stay true.
    inputs
        ``"images"``; ``"shuffled"``: the pixels of every image in one random order, the same for all; ``"gaussian"``:
        independent Gaussian noise in place of each image. All are shifted and scaled, so that over all pixels of the
        training images the mean is 0 and the variance 1, which are those of the noise too.
    generator
        What everything is drawn from.

    Raises
    ------
    UsageError
        An unknown kind of labels or inputs, a corruption outside of 0 … 1, or more images than there are.
    """
    for name, value, known in (("labels", labels, LABELS), ("inputs", inputs, INPUTS)):
        if value not in known:
            raise UsageError(f"unknown {name}", where=value, todo=nearest(value, known))
    if not 0 <= corruption <= 1:
        raise UsageError(f"a share of {corruption} is replaced", where="corruption", todo="Give one from 0 to 1.")
    wanted = n_train + n_held_out
    if wanted > len(data.train):
        raise UsageError(
            f"{n_train} training and {n_held_out} held-out images are asked for",
            where=data.name,
            todo=f"Give at most {len(data.train)} together.",
        )
    chosen = torch.randperm(len(data.train), generator=generator)[:wanted]
    targets, test_targets = data.train.targets[chosen], data.test.targets
    replaced = torch.rand(wanted, generator=generator) < corruption
    n_classes = len(data.classes)
    targets = torch.where(replaced, torch.randint(n_classes, (wanted,), generator=generator), targets)
    if labels == "signs":
        n_classes = 2
        targets, test_targets = (torch.randint(2, each.shape, generator=generator) for each in (targets, test_targets))
    pixels, test_pixels = _standardised(data.train.inputs[chosen], data.test.inputs, n_train)
    if inputs == "shuffled":
        order = torch.randperm(pixels[0].numel(), generator=generator)
        pixels, test_pixels = (each.flatten(1)[:, order].view_as(each) for each in (pixels, test_pixels))
    elif inputs == "gaussian":
        pixels, test_pixels = (torch.randn(each.shape, generator=generator) for each in (pixels, test_pixels))
    return RandomisedImages(
        train=Samples(pixels[:n_train], targets[:n_train], data.name),
        held_out=Samples(pixels[n_train:], targets[n_train:], data.name),
        test=Samples(test_pixels, test_targets, data.name),
        n_classes=n_classes,
    )


def _standardised(pixels: Tensor, test_pixels: Tensor, n_train: int) -> tuple[Tensor, Tensor]:
    mean, deviation = pixels[:n_train].mean(), pixels[:n_train].std(correction=0)
    return (pixels - mean) / deviation, (test_pixels - mean) / deviation
