"""Binary vectors: all there are, drawn ones, bars and stripes, and the refusal of what is none."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from deepscope.core import UsageError
from deepscope.models._inputs import Draw

#: Sums over all states of more than so many units are refused: 2²² states take seconds, and each unit doubles them.
MOST_UNITS = 22


def bits(length: int) -> Draw:
    """Return a function that draws n vectors of fair zeros and ones, [n, length].

    Examples
    --------
    >>> bits(3)(2, torch.Generator().manual_seed(0))
    tensor([[0., 1., 1.],
            [0., 1., 1.]])
    """

    def draw(n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randint(2, (n, length), generator=generator).to(torch.get_default_dtype())

    return draw


def spins(length: int) -> Draw:
    """Return a function that draws n vectors of fair signs, −1 or 1, [n, length].

    Examples
    --------
    >>> spins(3)(1, torch.Generator().manual_seed(0))
    tensor([[-1.,  1.,  1.]])
    """

    def draw(n: int, generator: torch.Generator | None) -> Tensor:
        return 2 * bits(length)(n, generator) - 1

    return draw


def all_bits(length: int, like: Tensor | None = None) -> Tensor:
    """Return all binary vectors, [2^length, length], in the order of the numbers that they write; the first bit leads.

    Parameters
    ----------
    length
        Bits of each.
    like
        A tensor of their precision and on their device.

    Raises
    ------
    UsageError
        A length below 0 or above 22.

    Examples
    --------
    >>> all_bits(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not 0 <= length <= MOST_UNITS:
        raise UsageError(
            f"the binary vectors of {length} units are to be listed",
            where="all_bits",
            todo=f"Ask for those of 0 to {MOST_UNITS}: there are 2 to the power of it.",
        )
    numbers = torch.arange(2**length, device=like.device if like is not None else None)
    places = torch.arange(length - 1, -1, -1, device=numbers.device)
    found = (numbers.unsqueeze(-1) >> places) & 1
    return found.to(torch.get_default_dtype() if like is None else like.dtype)


def bars_and_stripes(height: int, width: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return all pictures of bars or of stripes, [2^height + 2^width − 2, height · width]: rows or columns are equal.

    The pictures all black and all white are both, and stand once. A model of the uniform distribution over them has a
    negative log-likelihood of at least log(2^height + 2^width − 2) nats. Source: ``mackay2003information``.

    Parameters
    ----------
    height, width
        Sides of the picture, whose pixels are given row by row.
    dtype
        Precision of the zeros and ones; torch's default one unless given.

    Raises
    ------
    UsageError
        A side below 1 or above 22.

    Examples
    --------
    >>> bars_and_stripes(2, 2).int().tolist()
    [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]]
    >>> [len(bars_and_stripes(side, side)) for side in (3, 4)]
    [14, 30]
    """
    for side, argument in ((height, "height"), (width, "width")):
        if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MOST_UNITS:
            raise UsageError(
                f"{argument} is {side!r}",
                where="bars_and_stripes",
                todo=f"Give a whole number from 1 to {MOST_UNITS}.",
            )
    stripes = all_bits(height).unsqueeze(2).expand(-1, height, width)
    bars = all_bits(width).unsqueeze(1).expand(-1, height, width)
    # The first and the last are all white and all black, and among the stripes already.
    found = torch.cat([stripes, bars[1:-1]]).flatten(1)
    return found if dtype is None else found.to(dtype)


def log_bernoulli(logits: Tensor, states: Tensor) -> Tensor:
    """Return the log-probability of each row of independent bits with probabilities σ(logits), [n].

    Examples
    --------
    >>> log_bernoulli(torch.zeros(1, 3), torch.ones(1, 3)).exp()
    tensor([0.1250])
    """
    return -binary_cross_entropy_with_logits(logits, states, reduction="none").sum(1)


def check_bits(x: Tensor, length: int, argument: str, owner: nn.Module) -> None:
    """Refuse what is not at least one vector of zeros and ones, [n, length], in the model's precision.

    Raises
    ------
    UsageError
        It is not.
    """
    _check_two(x, length, (0, 1), argument, owner)


def check_spins(x: Tensor, length: int, argument: str, owner: nn.Module) -> None:
    """Refuse what is not at least one vector of −1 and 1, [n, length], in the model's precision.

    Raises
    ------
    UsageError
        It is not.
    """
    _check_two(x, length, (-1, 1), argument, owner)


def _check_two(x: Tensor, length: int, two: tuple[int, int], argument: str, owner: nn.Module) -> None:
    held = next(chain(owner.parameters(), owner.buffers()))
    # A complex model has real data.
    precision = held.real.dtype
    wanted = f"[n, {length}] of {str(precision).removeprefix('torch.')}, each {two[0]} or {two[1]}"
    if x.ndim != 2 or x.shape[1] != length or not len(x) or x.dtype != precision:
        raise UsageError(
            f"{argument} is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
            where=type(owner).__name__,
            todo=f"Give {wanted}.",
        )
    if not bool(((x == two[0]) | (x == two[1])).all()):
        raise UsageError(
            f"{argument} has other numbers than {two[0]} and {two[1]}",
            where=type(owner).__name__,
            todo=f"Give {wanted}.",
        )
