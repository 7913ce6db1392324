"""A closure for optimisers that evaluate the loss themselves, in a loop that gives them none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.subject import call, move, scalar_loss

Closure = Callable[[], Tensor]


def with_closure(
    model: nn.Module,
    data: Callable[[int], Iterable[Any]],
    loss: Callable[[Any, Any], Tensor],
    *,
    backward: bool = True,
) -> tuple[Callable[[int], Iterator[Any]], Closure]:
    """Return the same data, and a closure that evaluates the loss on the batch which it gave last.

    So that ``fit``, which calls ``optimizer.step()`` without arguments, trains with an optimiser that needs the loss at
    other weights, such as ``SAM`` and ``SaddleFreeNewton``: both take the closure when they are made. What the model
    draws (dropout) is drawn anew by each evaluation, and running averages (of batch normalisation) count each.

    Parameters
    ----------
    model, data, loss
        As for ``fit``.
    backward
        Whether the closure clears the gradients and computes them, as torch's optimisers expect. ``SaddleFreeNewton``
        differentiates by itself: give False.

    Returns
    -------
    data, closure
        To be given to ``fit``, and to the optimiser; the closure returns the loss, of shape [].

    Raises
    ------
    UsageError
        ``data`` is no function, or, by the closure, no batch has been given yet.

    Examples
    --------
    >>> import torch
    >>> from deepscope.training import SAM, fit
    >>> model, x, loss = nn.Linear(1, 1), torch.linspace(-1, 1, 8).reshape(-1, 1), nn.functional.mse_loss
    >>> data, closure = with_closure(model, lambda epoch: [(x, 3 * x)], loss)
    >>> optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.01, closure=closure, lr=0.5)
    >>> _ = fit(model, data, loss, optimizer=optimizer, epochs=50)
    >>> round(model.weight.item(), 1)
    3.0
    """
    if not callable(data):
        raise UsageError(
            f"data must be a function of the epoch's number that gives its batches, not a {type(data).__name__}",
            where="data of with_closure",
            todo="Give lambda epoch: batches, as to fit.",
        )
    latest: list[Any] = []

    def remembered(epoch: int) -> Iterator[Any]:
        for batch in data(epoch):
            latest[:] = [batch]
            yield batch

    def closure() -> Tensor:
        if not latest:
            raise UsageError(
                "no batch has been given yet",
                where="closure",
                todo="Give the data that with_closure returned to fit, in place of the data that it was given.",
            )
        if backward:
            model.zero_grad(set_to_none=True)
        inputs, targets = move(latest[0], next(model.parameters()).device)
        value = scalar_loss(loss, call(model, inputs), targets)
        if backward:
            value.backward()  # type: ignore[no-untyped-call]
        return value

    return remembered, closure
