"""Residual blocks of sequence models on top of one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._stack import Stack


class ResidualRecurrence(Recurrence):
    """A sequence model as a residual branch behind a norm: y = x + f(norm(x)).

    Maps [batch, time, width] to as many numbers. The state is that of f. Its parts are called ``norm`` and ``mixer``.
    Source: ``he2016identity``.

    Parameters
    ----------
    mixer
        f, from [batch, time, width] to [batch, time, width].
    norm
        Makes the norm of a width.

    Examples
    --------
    >>> import torch
    >>> from deepscope.models import MambaMixer
    >>> ResidualRecurrence(MambaMixer(8))(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, mixer: Recurrence, *, norm: Callable[[int], nn.Module] = nn.LayerNorm) -> None:
        super().__init__(mixer.input_size)
        self.norm = norm(mixer.input_size)
        self.mixer = mixer

    def initial_state(self, batch: int) -> State:
        """Return the mixer's."""
        return self.mixer.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of the mixer."""
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state

    def _outputs(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.mixer(self.norm(x)))

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mixed, state = self.mixer.scan(self.norm(x), state)
        return x + mixed, state


class ResidualStack(Stack):
    """Residual blocks on top of one another, and a norm: y = norm(x_k), x_i = x_{i−1} + f_i(norm_i(x_{i−1})).

    Maps [batch, time, width] to as many numbers. The state is a tuple of all mixers' tensors, the lowest first. The
    blocks are called ``layers.0``, …, the last norm ``norm``. Source: ``he2016identity``.

    Parameters
    ----------
    mixers
        f₁, f₂, …, each from [batch, time, width] to [batch, time, width]; at least one.
    norm
        Makes the norm of a width.

    Raises
    ------
    UsageError
        No mixers, or of different widths; when called: an input or a state that does not fit.

    Examples
    --------
    >>> import torch
    >>> from deepscope.models import MambaMixer
    >>> outputs, state = ResidualStack([MambaMixer(8), MambaMixer(8)]).scan(torch.zeros(2, 5, 8))
    >>> outputs.shape, [list(each.shape) for each in state]
    (torch.Size([2, 5, 8]), [[2, 3, 16], [2, 16, 16], [2, 3, 16], [2, 16, 16]])
    """

    def __init__(self, mixers: Iterable[Recurrence], *, norm: Callable[[int], nn.Module] = nn.LayerNorm) -> None:
        mixers = list(mixers)
        widths = [each.input_size for each in mixers]
        if len(set(widths)) != 1:
            raise UsageError(
                f"the mixers' widths are {widths}", where=type(self).__name__, todo="Give one or more of one width."
            )
        super().__init__((ResidualRecurrence(each, norm=norm) for each in mixers), norm=norm(widths[0]))
