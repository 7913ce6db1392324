"""A model with its loss as one module: what is trained where a loss is more than a function of outputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Objective(nn.Module):
    """A model and a loss ``loss(model, *batch)`` as one module, whose output is the loss of a batch.

    Generative models are trained on more than what ``forward`` returns: bounds, penalties on derivatives, noise that is
    drawn anew. With this module ``deepscope.training.fit`` trains them as it trains all others::

        fit(Objective(model, loss), lambda epoch: [(x, x)], Objective.value, optimizer=optimizer, epochs=epochs)

    It has the parameters of its model, and no others. Losses that draw do so from torch's own generator unless they are
    given one; ``fit`` seeds it, and its checkpoints keep it.

    Parameters
    ----------
    model
        What is trained.
    loss
        ``loss(model, *batch)``, one number; ``functools.partial`` holds its settings.

    Examples
    --------
    >>> import torch
    >>> objective = Objective(nn.Linear(2, 2), lambda model, x: (model(x) - x).square().mean())
    >>> objective(torch.zeros(5, 2)).shape
    torch.Size([])
    """

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Any) -> Tensor:
        """Return the loss of the batch."""
        return self.loss(self.model, *batch)

    @staticmethod
    def value(value: Tensor, targets: Any) -> Tensor:
        """Return the loss as it is: the loss function that ``fit`` takes, which has no use for targets."""
        return value
