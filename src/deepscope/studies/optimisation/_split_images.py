"""Images drawn anew for each seed: for training, for choosing, for judging."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deepscope.core import UsageError
from deepscope.data import Samples, load


@dataclass(frozen=True, eq=False)
class SplitImages:
    """Three sets of images without one in common.

    Attributes
    ----------
    train, validation, test
        The last holds all that the others leave.
    n_classes
        Number of classes.
    """

    train: Samples
    validation: Samples
    test: Samples
    n_classes: int

    def to(self, device: torch.device) -> SplitImages:
        """Return the images on a device."""
        moved = (
            Samples(part.inputs.to(device), part.targets.to(device), part.name)
            for part in (self.train, self.validation, self.test)
        )
        train, validation, test = moved
        return SplitImages(train, validation, test, self.n_classes)


def split_images(name: str, n_train: int, n_validation: int, generator: torch.Generator) -> SplitImages:
    """Return all images of a dataset, its training and its test part, in three sets drawn by the generator.

    Raises
    ------
    UsageError
        A set would be empty.

    Examples
    --------
    >>> split = split_images("digits", 300, 500, torch.Generator().manual_seed(0))
    >>> len(split.train), len(split.validation), len(split.test), split.n_classes
    (300, 500, 997, 10)
    """
    data = load(name)
    inputs = torch.cat([data.train.inputs, data.test.inputs])
    targets = torch.cat([data.train.targets, data.test.targets])
    if min(n_train, n_validation) < 1 or n_train + n_validation >= len(inputs):
        raise UsageError(
            f"{n_train} and {n_validation} of {len(inputs)} images are asked for",
            where="n_train, n_validation",
            todo="Give at least 1 each, and leave some for testing.",
        )
    drawn = torch.randperm(len(inputs), generator=generator)
    train, validation, test = (
        Samples(inputs[part], targets[part], name) for part in drawn.tensor_split([n_train, n_train + n_validation])
    )
    return SplitImages(train, validation, test, len(data.classes))
