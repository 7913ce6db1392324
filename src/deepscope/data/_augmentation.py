"""Images that are shifted and mirrored at random while a network trains on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from deepscope.core import UsageError, derive_seed
from deepscope.data._dataset import Batches, Epochs


@dataclass(frozen=True, eq=False)
class Augmented:
    """The batches of each epoch with their images shifted and mirrored: ``Augmented(epochs, …)(number)``.

    Every image is moved by whole pixels, drawn evenly from −shift … shift in each direction, zeros coming in from
    outside: what cutting a random part out of the padded image does. With ``mirror``, every second one on average is
    flipped left to right. Like the order of an epoch, the draws depend on the seed and the epoch's number alone.
    Source: ``he2016deep``.

    Parameters
    ----------
    epochs
        Batches of images [n, channels, height, width].
    shift
        How many pixels an image is moved at most.
    mirror
        Whether images are flipped: right for photographs, wrong for digits.

    Raises
    ------
    UsageError
        A negative shift; when read: inputs that are not images.

    Examples
    --------
    >>> from deepscope.data import Samples
    >>> epochs = Samples(torch.eye(3)[None, None], torch.zeros(1)).epochs(1, seed=0)
    >>> [images[0, 0].int().tolist() for images, targets in Augmented(epochs, shift=1)(0)]
    [[[0, 0, 0], [0, 0, 0], [1, 0, 0]]]
    """

    epochs: Epochs
    shift: int = 0
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise UsageError(f"shift is {self.shift}", where="Augmented", todo="Give a whole number of at least 0.")

    def __call__(self, epoch: int) -> _AugmentedBatches:
        return _AugmentedBatches(self.epochs(epoch), self, derive_seed(self.epochs.seed, "data.augmented", epoch))


@dataclass(frozen=True, eq=False)
class _AugmentedBatches:
    """Batches of one epoch: the same each time they are read."""

    batches: Batches
    augmented: Augmented
    seed: int

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        for images, targets in self.batches:
            if images.ndim != 4:
                raise UsageError(
                    f"the inputs are {list(images.shape)}",
                    where="Augmented",
                    todo="Give images as [n, channels, height, width].",
                )
            yield self._moved(images, generator), targets

    def _moved(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        shift, device = self.augmented.shift, images.device
        down, right = torch.randint(2 * shift + 1, (2, n), generator=generator)
        flipped = torch.rand(n, generator=generator) < 0.5
        rows = down[:, None] + torch.arange(height)
        columns = right[:, None] + torch.arange(width)
        if self.augmented.mirror:
            columns = torch.where(flipped[:, None], columns.flip(1), columns)
        padded = torch.nn.functional.pad(images, (shift,) * 4)
        sample = torch.arange(n, device=device)[:, None, None]
        # Indexed dimensions apart from each other come first: [n, height, width, channels].
        moved = padded[sample, :, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
        return moved.movedim(-1, 1).contiguous()
