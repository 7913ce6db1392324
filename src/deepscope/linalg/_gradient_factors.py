"""Gradients of one parameter for each of many samples, kept as what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DenseGradients:
    """Gradients as they are: J[i, k] of sample i and direction k.

    Attributes
    ----------
    values
        [n, k, p], p the parameter's size.
    """

    values: Tensor

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.values.shape[0]

    @property
    def k(self) -> int:
        """Number of directions per sample."""
        return self.values.shape[1]

    @property
    def rows(self) -> int:
        """Rows of the parameter seen as a matrix, from which ``dense`` gives blocks."""
        return self.values.shape[2]

    @property
    def width(self) -> int:
        """Columns of that matrix."""
        return 1

    @property
    def nbytes(self) -> int:
        """Memory that the factors take."""
        return self.values.nbytes

    def dense(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Write out some rows of the gradients: [n, k, (stop − start) · width]."""
        return self.values[:, :, start:stop]

    def take(self, samples: slice) -> DenseGradients:
        """Return the gradients of some of the samples."""
        return DenseGradients(self.values[samples])


@dataclass(frozen=True, eq=False)
class OuterGradients:
    """Gradients of a matrix as sums of outer products: J[i, k] = Σ_t left[i, k, t] right[i, t]ᵀ.

    A linear layer's are the gradients of its outputs times its inputs, summed over the positions t at which it is
    used (``goodfellow2015efficient``); a convolution's likewise, with unfolded inputs, in blocks of rows where its
    channels are in groups.

    Attributes
    ----------
    left
        [n, k, groups, t, rows of a group].
    right
        [n, groups, t, columns].
    """

    left: Tensor
    right: Tensor

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.left.shape[0]

    @property
    def k(self) -> int:
        """Number of directions per sample."""
        return self.left.shape[1]

    @property
    def groups(self) -> int:
        """Number of blocks of rows with inputs of their own."""
        return self.left.shape[2]

    @property
    def positions(self) -> int:
        """Number of outer products in each sum."""
        return self.left.shape[3]

    @property
    def rows(self) -> int:
        """Rows of the parameter, or blocks of rows where there are several."""
        return self.left.shape[4] if self.groups == 1 else self.groups

    @property
    def width(self) -> int:
        """Values per row or block."""
        return self.right.shape[3] if self.groups == 1 else self.left.shape[4] * self.right.shape[3]

    @property
    def nbytes(self) -> int:
        """Memory that the factors take."""
        return self.left.nbytes + self.right.nbytes

    def dense(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Write out some rows of the gradients: [n, k, (stop − start) · width]."""
        left, right = self.left, self.right
        if self.groups == 1:
            left = left[..., start:stop]
        else:
            left, right = left[:, :, start:stop], right[:, start:stop]
        n, k, groups, t, r = left.shape
        # One product per sample and group, of all directions at once.
        stacked = left.permute(0, 2, 1, 4, 3).reshape(n * groups, k * r, t)
        made = torch.bmm(stacked, right.reshape(n * groups, t, -1))
        return made.view(n, groups, k, -1).transpose(1, 2).reshape(n, k, -1)

    def take(self, samples: slice) -> OuterGradients:
        """Return the gradients of some of the samples."""
        return OuterGradients(self.left[samples], self.right[samples])


@dataclass(frozen=True, eq=False)
class ScatteredGradients:
    """Gradients of a table of which each sample reads some rows: J[i, k] = Σ_t e(index[i, t]) values[i, k, t]ᵀ.

    Attributes
    ----------
    index
        [n, t], the rows read.
    values
        [n, k, t, columns], the gradients of what was read.
    rows
        Rows of the table.
    """

    index: Tensor
    values: Tensor
    rows: int

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.values.shape[0]

    @property
    def k(self) -> int:
        """Number of directions per sample."""
        return self.values.shape[1]

    @property
    def positions(self) -> int:
        """Number of reads per sample."""
        return self.values.shape[2]

    @property
    def width(self) -> int:
        """Columns of the table."""
        return self.values.shape[3]

    @property
    def nbytes(self) -> int:
        """Memory that the factors take."""
        return self.index.nbytes + self.values.nbytes

    def dense(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Write out some rows of the gradients: [n, k, (stop − start) · width]."""
        stop = self.rows if stop is None else stop
        inside = (self.index >= start) & (self.index < stop)
        place = torch.where(inside, self.index - start, 0)[:, None, :, None].expand_as(self.values)
        made = self.values.new_zeros(self.n, self.k, stop - start, self.width)
        made.scatter_add_(2, place, self.values * inside[:, None, :, None])
        return made.flatten(2)

    def take(self, samples: slice) -> ScatteredGradients:
        """Return the gradients of some of the samples."""
        return ScatteredGradients(self.index[samples], self.values[samples], self.rows)


Factor = DenseGradients | OuterGradients | ScatteredGradients

#: The gradients of one parameter: the sum of its factors, at most one of each kind.
Factors = tuple[Factor, ...]


def combine(parts: Iterable[Factor]) -> Factors:
    """Sum contributions to one parameter: those of repeated calls of a layer, and of layers that share it.

    The sum is that of the gradients, so that all cross terms of its products are kept.

    Parameters
    ----------
    parts
        Of the same samples, directions and parameter.

    Returns
    -------
    Factors
        One of each kind that occurs: positions are put beside one another, dense gradients are added.

    Examples
    --------
    >>> once = OuterGradients(torch.ones(2, 1, 1, 1, 3), torch.ones(2, 1, 1, 4))
    >>> (both,) = combine([once, once])
    >>> both.positions, both.dense().unique().tolist()
    (2, [2.0])
    """
    kinds: dict[type, list[Any]] = {}
    for part in parts:
        kinds.setdefault(type(part), []).append(part)
    return tuple(same[0] if len(same) == 1 else _summed(same) for same in kinds.values())


def compact(factors: Factors) -> Factors:
    """Write gradients out where that takes less memory than their factors, as in a convolution of few weights.

    >>> many = OuterGradients(torch.ones(2, 1, 1, 100, 3), torch.ones(2, 1, 100, 4))
    >>> compact((many,))[0].values.shape
    torch.Size([2, 1, 12])
    """
    (first, *others) = factors
    if others or isinstance(first, DenseGradients) or first.positions == 1:
        return factors
    size = first.n * first.k * first.rows * first.width
    if size >= sum(each.numel() for each in vars(first).values() if isinstance(each, torch.Tensor)):
        return factors
    return (DenseGradients(first.dense()),)


def joined_factors(parts: Sequence[Sequence[Factors]]) -> list[Factors]:
    """Put the gradients of further samples behind those of the first.

    Parameters
    ----------
    parts
        By set of samples, then by parameter; of one parameter all are alike in kind. What parameters of one set share,
        they share afterwards.

    Returns
    -------
    list of Factors
        By parameter.
    """
    if len(parts) == 1:
        return list(parts[0])
    made: dict[tuple[int, ...], Tensor] = {}

    def behind(tensors: Sequence[Tensor]) -> Tensor:
        key = tuple(map(id, tensors))
        if key not in made:
            made[key] = torch.cat(list(tensors))
        return made[key]

    def join(same: Sequence[Any]) -> Factor:
        first = same[0]
        if isinstance(first, OuterGradients):
            return OuterGradients(behind([each.left for each in same]), behind([each.right for each in same]))
        values = behind([each.values for each in same])
        if isinstance(first, ScatteredGradients):
            return ScatteredGradients(behind([each.index for each in same]), values, first.rows)
        return DenseGradients(values)

    return [tuple(join(same) for same in zip(*each, strict=True)) for each in zip(*parts, strict=True)]


def _summed(same: Sequence[Any]) -> Factor:
    """Sum factors of one kind."""
    first = same[0]
    if isinstance(first, OuterGradients):
        return OuterGradients(torch.cat([each.left for each in same], 3), torch.cat([each.right for each in same], 2))
    if isinstance(first, ScatteredGradients):
        values = torch.cat([each.values for each in same], 2)
        return ScatteredGradients(torch.cat([each.index for each in same], 1), values, first.rows)
    return DenseGradients(reduce(torch.add, [each.values for each in same]))
