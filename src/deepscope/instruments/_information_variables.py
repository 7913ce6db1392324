"""The two variables beside which a layer is put: the inputs and the labels of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import derive_seed
from deepscope.instruments._labels import Labels, why_not_compared
from deepscope.linalg import codes_of
from deepscope.subject import tensors_in

#: Input values that are compared at most; further ones are left out by chance.
MOST_FEATURES = 4096
#: Floating-point inputs of so few different values are symbols.
_SYMBOLS = 2


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of n samples.

    Attributes
    ----------
    points
        [n, d], float64; None where values are only names.
    codes
        [n], the number of each sample's value among the different ones; None where values are continuous and are
        different because they are.
    why
        Why there is no such variable; empty where there is one.
    n_features
        How many values a sample has, of which ``points`` may hold a part.
    """

    points: NDArray[np.float64] | None = None
    codes: NDArray[np.int64] | None = None
    why: str = ""
    n_features: int = 0

    def taken(self, rows: NDArray[np.intp]) -> Variable:
        """Return that of some of the samples."""
        points = self.points[rows] if self.points is not None else None
        codes = np.unique(self.codes[rows], return_inverse=True)[1] if self.codes is not None else None
        return replace(self, points=points, codes=codes)


def inputs_of(batches: Sequence[tuple[Any, int]], seed: int) -> Variable:
    """Make a variable of the inputs of batches, each with its number of samples.

    Floating-point values are points, unless there are only two different ones; whole numbers are names.
    """
    rows: list[Tensor] = []
    kinds = set()
    for value, n in batches:
        every = [each for each in tensors_in(value) if each.ndim and len(each) == n]
        floats = [each for each in every if each.is_floating_point()]
        kinds.add(bool(floats))
        parts = [each.detach().reshape(n, -1).cpu() for each in floats or every]
        if not parts:
            return Variable(why="the inputs hold no tensor with a row per sample")
        rows.append(torch.cat([each.double() if floats else each.long() for each in parts], dim=1))
    if len(kinds) != 1 or len({each.shape[1] for each in rows}) != 1:
        return Variable(why="the inputs have not the same shape for all samples")
    whole = torch.cat(rows)
    if not kinds.pop():
        return Variable(codes=codes_of(whole), n_features=whole.shape[1])
    if not bool(torch.isfinite(whole).all()):
        return Variable(why="the inputs are not finite")
    width = whole.shape[1]
    if width > MOST_FEATURES:
        generator = torch.Generator().manual_seed(derive_seed(seed, "input features"))
        whole = whole[:, torch.randperm(width, generator=generator)[:MOST_FEATURES].sort().values]
    points = whole.numpy()
    codes = codes_of(points) if len(np.unique(points)) <= _SYMBOLS else None
    return Variable(points=points, codes=codes, n_features=width)


def variable_of(labels: Labels, taken: NDArray[np.intp]) -> Variable:
    """Make a variable of some of the samples that have a label.

    Numbers that all come several times are names: two samples at the same place are no neighbours.
    """
    if labels.classes is not None:
        codes = codes_of(labels.classes[taken])
        return Variable(codes=codes, why=labels.why or why_not_compared(codes), n_features=1)
    if labels.why:
        return Variable(why=labels.why)
    points = labels.values[taken]
    codes = codes_of(points)
    if np.bincount(codes).min() > 1:
        return Variable(codes=codes, why=why_not_compared(codes), n_features=1)
    return Variable(points=points, n_features=points.shape[1])


def first_of_copies(inputs: Variable, labels: Labels) -> NDArray[np.intp]:
    """Return which of the labelled samples are no copy, in inputs and label, of an earlier one.

    A sample of a continuous variable that comes twice has been copied; equal names are draws of the same value.
    """
    n = len(labels.rows)
    if inputs.points is None or inputs.codes is not None:
        return np.arange(n)
    names = np.zeros((n, 0)) if labels.classes is None else labels.classes[:, None].astype(float)
    codes = codes_of(np.hstack([inputs.points, names, labels.values]))
    return np.sort(np.unique(codes, return_index=True)[1])
