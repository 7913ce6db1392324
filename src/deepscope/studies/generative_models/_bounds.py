"""How the bounds of a variational autoencoder are raised, and what they are in the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscope.core import Case
from deepscope.models import LatentVariableModel, importance_bound
from deepscope.training import cosine, fit

#: Draws of z in an importance-weighted bound; one is the evidence lower bound.
DRAWS = (1, 5, 50)


class Loss(nn.Module):
    """A model whose output is the number to be lowered: ``loss(model, *inputs)``."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the loss."""
        return self.loss(self.model, *inputs)


def lower(
    model: nn.Module,
    loss: Callable[..., Tensor],
    data: Callable[[int], Iterable[tuple[Tensor, ...]]],
    case: Case,
    *,
    steps: int,
    epochs: int = 1,
    seed: int = 0,
) -> None:
    """Lower ``loss(model, *inputs)`` by Adam, at a rate that falls to 0 along half a cosine over all steps.

    ``data`` maps the number of an epoch to the inputs of its steps.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate)
    fit(
        Loss(model, loss),
        lambda epoch: ((inputs, inputs[0]) for inputs in data(epoch)),
        lambda output, _: output,
        optimizer=optimizer,
        epochs=epochs,
        schedule=cosine(steps),
        seed=seed,
    )


@torch.no_grad()
def mean_bounds(
    model: LatentVariableModel, inputs: Sequence[Tensor], generator: torch.Generator
) -> NDArray[np.float64]:
    """Return the importance-weighted bounds with ``DRAWS``, nats, means over the samples of ``inputs``, [3].

    Each is a mean over bounds of as many draws in all, so that all are known about as well.
    """
    repeats = [max(DRAWS) // draws for draws in DRAWS]
    return np.array(
        [
            np.mean(
                [float(importance_bound(model, *inputs, samples=draws, generator=generator).mean()) for _ in range(n)]
            )
            for draws, n in zip(DRAWS, repeats, strict=True)
        ]
    )
