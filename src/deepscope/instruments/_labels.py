"""What samples are labelled with: the one rule by which all instruments read targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import LeftOut

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: The label that PyTorch's losses ignore unless told otherwise.
IGNORED = -100


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of n samples.

    Attributes
    ----------
    rows
        [m], the samples that have one, in order.
    values
        [m, d], float64: one column per class with 1 where the sample is of that class, or a regression's targets.
    classes
        [m], the column of each sample's class; None for a regression.
    names
        What the data calls the class of each column.
    of_outputs
        Whether a column is what the network's output of that number is to be.
    left_out
        Samples without a label.
    why
        Why nothing can be compared with them; empty where it can. There may be classes nevertheless, of which all
        samples are one, or each is another.
    """

    rows: Indices
    values: Floats
    classes: Indices | None = None
    names: tuple[int, ...] = ()
    of_outputs: bool = True
    left_out: tuple[LeftOut, ...] = ()
    why: str = ""

    @property
    def usable(self) -> Labels | None:
        """They themselves where something can be compared with them, or None."""
        return None if self.why else self


def labels_of(targets: Sequence[Any], n: int, n_outputs: int = 0) -> Labels:
    """Read the targets of batches of n samples together.

    Whole numbers, one per sample, are classes, and so are rows of which one entry is 1 and all others are 0, and a
    single column of zeros and ones, whatever their type. All other floating-point rows, soft labels among them, are
    numbers. A sample whose class is −100 has no label.

    Parameters
    ----------
    targets
        Of each batch.
    n
        Samples of all batches.
    n_outputs
        Of the network. Classes that are their numbers have a column for each; others one for each class that there is.

    Examples
    --------
    >>> labels_of([torch.tensor([1, -100, 0, 1, 0])], 5, n_outputs=2).values.tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> labels_of([torch.tensor([[0.3, 0.7], [0.5, 0.5]])], 2).classes is None
    True
    """
    if all(each is None for each in targets):
        return _none(n, "there are no targets")
    if not all(isinstance(each, Tensor) and each.ndim for each in targets):
        return _none(n, "the targets are no tensors")
    if len({(each.shape[1:], each.dtype) for each in targets}) != 1 or sum(map(len, targets)) != n:
        return _none(n, "the targets are not one row for each sample")
    rows = torch.cat(list(targets)).detach().cpu().reshape(n, -1)
    if rows.is_complex():
        return _none(n, "the targets are complex numbers")
    if rows.is_floating_point() and not bool(torch.isfinite(rows).all()):
        return _none(n, "the targets are not finite")
    classes = _indicated(rows)
    if classes is not None:
        return _of_classes(classes, n_outputs)
    if not rows.is_floating_point():
        return _of_classes(rows[:, 0], n_outputs) if rows.shape[1] == 1 else _none(n, "each sample has several labels")
    values = rows.double().numpy()
    same = not np.ptp(values, axis=0).any()
    return Labels(np.arange(n), values, why="all targets are the same" if same else "")


def _none(n: int, why: str) -> Labels:
    return Labels(np.arange(n), np.zeros((n, 0)), why=why)


def _indicated(rows: Tensor) -> Tensor | None:
    """Return which entry of each row is 1, where it is one of several and all others are 0; of one column, itself."""
    if not bool(((rows == 0) | (rows == 1)).all()):
        return None
    if rows.shape[1] == 1:
        return rows[:, 0].long() if bool(rows.any()) and not bool(rows.all()) else None
    return rows.long().argmax(dim=1) if bool((rows.sum(dim=1) == 1).all()) else None


def _of_classes(numbers: Tensor, n_outputs: int) -> Labels:
    every = numbers.long().numpy()
    rows = np.flatnonzero(every != IGNORED)
    found = every[rows]
    if not len(rows):
        return _none(len(every), f"all labels are {IGNORED}: to be ignored")
    present, classes = np.unique(found, return_inverse=True)
    of_outputs = present[0] >= 0 and present[-1] < max(n_outputs, 2)
    names = np.arange(max(n_outputs, present[-1] + 1)) if of_outputs else present
    if of_outputs:
        classes = found
    why = why_not_compared(found)
    # Where each sample has a class of its own the columns would be as many as samples, and say nothing.
    values = np.zeros((len(rows), 0 if why else len(names)))
    if not why:
        values[np.arange(len(rows)), classes] = 1
    lost = len(every) - len(rows)
    return Labels(
        rows=rows,
        values=values,
        classes=classes,
        names=tuple(names.tolist()),
        of_outputs=bool(of_outputs),
        left_out=(LeftOut("labels", f"{lost:,} samples whose label is {IGNORED}: to be ignored"),) if lost else (),
        why=why,
    )


def why_not_compared(classes: NDArray[Any]) -> str:
    """Say why nothing can be told from the classes of samples, [m]; empty where something can."""
    _, counts = np.unique(classes, return_counts=True)
    if len(counts) == 1:
        return "all samples are of one class"
    return "hardly any label comes twice" if np.sum(counts > 1) < 2 else ""
