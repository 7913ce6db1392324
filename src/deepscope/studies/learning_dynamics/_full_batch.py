"""Training on all samples at once, seen from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


def full_batch_adam(
    model: nn.Module, forward: Callable[[], tuple[Tensor, Tensor]], learning_rate: float
) -> Iterator[Tensor]:
    """Yield the outputs before each step of Adam, from step 0, for ever.

    Parameters
    ----------
    model
        Trained in place.
    forward
        Returns the outputs and the loss for all samples.
    learning_rate
        Its step size.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    while True:
        outputs, loss = forward()
        yield outputs.detach()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
