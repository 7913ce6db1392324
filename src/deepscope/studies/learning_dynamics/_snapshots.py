"""Looks at a network at epochs evenly spaced in their logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, final

import numpy as np

from deepscope.models import MLP
from deepscope.training import Callback, TrainingState

Seen = TypeVar("Seen")


def snapshot_epochs(epochs: int, most: int) -> list[int]:
    """Return 0 and at most so many numbers of epochs evenly spaced in their logarithm, the last included.

    >>> snapshot_epochs(8, 4)
    [0, 1, 2, 4, 8]
    """
    return [0, *sorted({round(float(each)) for each in np.geomspace(1, epochs, most)})]


@final
class Snapshots(Callback, Generic[Seen]):
    """Keeps what a look at the network returns, before training and after some of its epochs.

    Parameters
    ----------
    epochs
        When to look; 0 is before training.
    look
        What to keep.
    hopeless
        Whether training ends after such a look.
    """

    def __init__(
        self, epochs: list[int], look: Callable[[MLP], Seen], hopeless: Callable[[Seen], bool] = lambda seen: False
    ) -> None:
        self.epochs, self.look, self.hopeless = epochs, look, hopeless
        self.seen: list[Seen] = []

    def on_start(self, state: TrainingState) -> None:
        """Look at the untrained network."""
        self._look(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Look, if it is time."""
        if state.epoch + 1 in self.epochs:
            self._look(state)

    def _look(self, state: TrainingState) -> None:
        model = state.model
        assert isinstance(model, MLP)
        self.seen.append(self.look(model))
        state.stop = self.hopeless(self.seen[-1])
