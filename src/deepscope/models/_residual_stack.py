"""Residual blocks of sequence models on top of one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import check_sequence


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

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return the outputs at all steps, [batch, time, width]."""
        # As ``scan``, but the mixer is called, so that hooks see it and it may take a faster way to its outputs.
        check_sequence(x, self.input_size, self)
        return cast(Tensor, x + self.mixer(self.norm(x), state))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of the mixer."""
        mixed, state = self.mixer.step(self.norm(x), state)
        return x + mixed, state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mixed, state = self.mixer.scan(self.norm(x), state)
        return x + mixed, state


class ResidualStack(Recurrence):
    """Residual blocks on top of one another, and a norm: y = norm(x_k), x_i = x_{i−1} + f_i(norm_i(x_{i−1})).

    Maps [batch, time, width] to as many numbers. The state is a tuple of all mixers' tensors, the lowest first. The
    blocks are called ``blocks.0``, …, the last norm ``norm``. Source: ``he2016identity``.

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
        super().__init__(widths[0])
        self.blocks = nn.ModuleList(ResidualRecurrence(each, norm=norm) for each in mixers)
        self.norm = norm(widths[0])

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the mixers' states before the first step, in one tuple."""
        return tuple(part for block in self._blocks() for part in _parts(block.initial_state(batch)))

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return the outputs at all steps, [batch, time, width]."""
        # As ``scan``, but each block is called, so that hooks see it and it may take a faster way to its outputs.
        if state is not None:
            return self.scan(x, state)[0]
        check_sequence(x, self.input_size, self)
        for block in self._blocks():
            x = block(x)
        return cast(Tensor, self.norm(x))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step of every block."""
        following: list[Tensor] = []
        for block, part in self._with_states(state):
            x, part = block.step(x, part)
            following += _parts(part)
        return self.norm(x), tuple(following)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following: list[Tensor] = []
        for block, part in self._with_states(state):
            x, part = block.scan(x, part)
            following += _parts(part)
        return self.norm(x), tuple(following)

    def _blocks(self) -> Iterator[ResidualRecurrence]:
        return (cast(ResidualRecurrence, each) for each in self.blocks)

    def _with_states(self, state: State) -> Iterator[tuple[ResidualRecurrence, State]]:
        left = list(_parts(state))
        for block in self._blocks():
            own = block.initial_state(0)
            count = len(_parts(own))
            yield block, (left[0] if isinstance(own, Tensor) else tuple(left[:count]))
            left = left[count:]


def _parts(state: State) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state
