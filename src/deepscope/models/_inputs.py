"""What models take, drawn at random: the inputs that specimens declare."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Draw = Callable[[int, torch.Generator | None], Tensor]


def values(*shape: int) -> Draw:
    """Return a function that draws n samples of standard Gaussian numbers, [n, *shape].

    Images are ``values(channels, height, width)``, sequences of vectors ``values(length, features)``.

    Examples
    --------
    >>> values(3, 32, 32)(2, None).shape
    torch.Size([2, 3, 32, 32])
    """

    def draw(n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(n, *shape, generator=generator)

    return draw


def tokens(vocabulary: int, length: int) -> Draw:
    """Return a function that draws n sequences of integers below ``vocabulary``, [n, length].

    Examples
    --------
    >>> tokens(65, 100)(2, None).shape
    torch.Size([2, 100])
    """

    def draw(n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randint(vocabulary, (n, length), generator=generator)

    return draw
