"""What a training run is doing, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from deepscope.core import UsageError, nearest
from deepscope.subject import GeneratorStates

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class History:
    """The course of a training run.

    Attributes
    ----------
    loss
        Training loss of each step, measured before its update.
    count
        Number of terms that each step's loss averages over.
    lr_factor
        Factor of the schedule on the optimizer's learning rates at each step.
    epochs
        One record per finished epoch: ``epoch`` (from 0), ``steps`` (so far), ``loss`` (mean over the epoch's terms,
        each as of its own step), and whatever callbacks add.

    Examples
    --------
    >>> History(loss=[2.0, 1.0], count=[1.0, 3.0], lr_factor=[1.0, 1.0]).mean_loss(last=2)
    1.25
    """

    loss: list[float] = field(default_factory=list)
    count: list[float] = field(default_factory=list)
    lr_factor: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)

    def mean_loss(self, last: int) -> float:
        """Return the mean loss over the terms of the last steps."""
        losses, counts = self.loss[-last:], self.count[-last:]
        return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)

    def curve(self, name: str) -> list[float]:
        """Return one number of all epochs' records, such as ``"loss"`` or ``"test_accuracy"``.

        Raises
        ------
        UsageError
            No epoch recorded it.
        """
        known = {key for record in self.epochs for key in record}
        if name not in known:
            raise UsageError("no epoch recorded this", where=name, todo=nearest(name, known))
        return [record[name] for record in self.epochs if name in record]

    def table(self) -> pd.DataFrame:
        """One row per finished epoch."""
        import pandas as pd

        return pd.DataFrame(self.epochs)

    def to_plain(self) -> dict[str, Any]:
        """Return tensors, numbers and text that hold the history exactly."""
        steps = torch.tensor([self.loss, self.count, self.lr_factor], dtype=torch.float64)
        return {"steps": steps, "epochs": [dict(record) for record in self.epochs]}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> History:
        """Build the history again; exact inverse of ``to_plain``."""
        loss, count, lr_factor = plain["steps"].tolist()
        return cls(loss, count, lr_factor, [dict(record) for record in plain["epochs"]])


@dataclass
class TrainingState:
    """Where a training run stands; what callbacks are given.

    Attributes
    ----------
    model, optimizer
        What is being trained, and by what.
    epoch
        Number of the current epoch, from 0: the number that ``data`` was called with.
    step
        Number of updates made so far, over all epochs.
    batch
        Number of batches of the current epoch that have been used.
    loss
        Training loss of the latest step, None before the first.
    history
        What has been seen so far.
    stop
        Set by a callback to end the run after the current step, or after the epoch where it is set at its end.
    epoch_generators
        States of the random generators at the start of the current epoch.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    batch: int = 0
    loss: float | None = None
    stop: bool = False
    history: History = field(default_factory=History)
    epoch_generators: GeneratorStates = field(default_factory=dict, repr=False)
