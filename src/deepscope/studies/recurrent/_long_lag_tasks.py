"""Sequences whose answer depends on what was seen long before their end."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]


def adding(n: int, length: int, generator: torch.Generator, *, markers: str = "true") -> tuple[Tensor, Tensor]:
    """Return sequences of numbers, two of which are marked, and the sum of these two.

    The numbers are uniform in [0, 1]; one is marked in each half of the sequence, so that the first of them stands at
    least ``length / 2`` steps before the end.

    Parameters
    ----------
    n, length
        Number of sequences and of steps, an even one.
    generator
        Of all that is drawn.
    markers
        ``"true"``; ``"random"`` shows markers that are drawn independently of those that are summed.

    Returns
    -------
    inputs, targets
        [n, length, 2], number and marker; [n]. The constant 1 has a mean squared error of 1/6.

    Examples
    --------
    >>> x, y = adding(4, 6, torch.Generator().manual_seed(0))
    >>> torch.equal((x[..., 0] * x[..., 1]).sum(1), y), x[..., 1].reshape(4, 2, 3).sum(2).unique().tolist()
    (True, [1.0])
    """
    numbers = torch.rand(n, length, generator=generator)
    summed = _one_in_each_half(n, length, generator)
    shown = summed if markers == "true" else _one_in_each_half(n, length, generator)
    return torch.stack([numbers, shown], 2), (numbers * summed).sum(1)


def _one_in_each_half(n: int, length: int, generator: torch.Generator) -> Tensor:
    half = length // 2
    places = torch.randint(half, (n, 2), generator=generator) + torch.tensor([0, half])
    return torch.zeros(n, length).scatter_(1, places, 1.0)


def least_error(length: int) -> float:
    """Return the least mean squared error of the adding problem with random markers: (1/6)(1 − 2/T).

    Nothing better is known of either number than the mean of its half, whose variance around it is (1/12)(1 − 2/T).

    >>> round(least_error(10), 3), round(least_error(100), 3)
    (0.133, 0.163)
    """
    return (1 - 2 / length) / 6


def two_sequences(steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the symbols of the two sequences x a₁ … a₍p₋₁₎ x and y a₁ … a₍p₋₁₎ y but the last, and but the first.

    Of p + 1 symbols x is 0 and y is p. All but the last follow from the one before them, the last from the first, p
    steps back. Source: ``hochreiter1997long``, task 2a.

    >>> [each.tolist() for each in two_sequences(3)]
    [[[0, 1, 2], [3, 1, 2]], [[1, 2, 0], [1, 2, 3]]]
    """
    ends, middle = np.array([[0], [steps]]), np.tile(np.arange(1, steps), (2, 1))
    whole = np.hstack([ends, middle, ends])
    return whole[:, :-1], whole[:, 1:]


def latch(n: int, length: int, rng: np.random.Generator, *, answers: str = "true") -> tuple[Floats, Floats]:
    """Return sequences that begin with ±1, which is the answer, and go on as Gaussian noise of variance 0.2.

    As many begin with 1 as with −1; with ``answers="random"`` as many as before are 1, in random order. Inputs are
    [n, length, 1], answers [n]. Source: ``schmidhuber2001evaluating``, latch variant II.

    >>> x, y = latch(4, 5, np.random.default_rng(0))
    >>> x.shape, x[:, 0, 0].tolist(), y.tolist()
    ((4, 5, 1), [-1.0, 1.0, -1.0, 1.0], [-1.0, 1.0, -1.0, 1.0])
    """
    first = np.where(np.arange(n) % 2, 1.0, -1.0).astype(np.float32)
    inputs = rng.normal(0, np.sqrt(0.2), (n, length, 1)).astype(np.float32)
    inputs[:, 0, 0] = first
    return inputs, first if answers == "true" else rng.permutation(first)


def parity(n: int, length: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return random sequences of ±1, [n, length, 1], and their products, [n].

    >>> x, y = parity(5, 7, np.random.default_rng(0))
    >>> bool((x.prod(axis=(1, 2)) == y).all())
    True
    """
    inputs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), (n, length, 1))
    return inputs, inputs.prod(axis=(1, 2))
