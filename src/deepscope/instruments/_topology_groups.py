"""Which samples make up a cloud: those of a class, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscope.core import DoesNotApplyError, LeftOut

Indices = NDArray[np.int64]

#: Of fewer samples than these a class has no shape to speak of.
_FEWEST = 8
#: Halves of fewer samples than these are no clouds.
_FEWEST_IN_ALL = 4
#: Name of the only cloud where there are no classes to tell apart.
ALL = "all"


@dataclass(frozen=True, eq=False)
class Groups:
    """The clouds into which samples are divided.

    Attributes
    ----------
    members
        Name to the samples' places, [n]; the names are the classes', or ``"all"``.
    by_class
        Whether they are classes.
    left_out
        What belongs to none of them, and why.
    """

    members: dict[str, Indices]
    by_class: bool
    left_out: tuple[LeftOut, ...]


def groups_of(targets: Sequence[Any], n: int, most: int) -> Groups:
    """Divide n samples by their classes, the ``most`` largest; or leave them together where there are none.

    Whole numbers, one per sample, are classes.

    Raises
    ------
    DoesNotApplyError
        There are fewer than four samples.
    """
    if n < _FEWEST_IN_ALL:
        raise DoesNotApplyError(
            f"{n} {'sample has' if n == 1 else 'samples have'} no shape",
            where="topology",
            todo=f"Give at least {_FEWEST} of each class; some hundred show whether it has holes.",
        )
    classes = _classes(targets, n)
    if isinstance(classes, str):
        return Groups({ALL: np.arange(n)}, False, (LeftOut("classes", f"{classes}: all samples are one cloud"),))
    labels, counts = np.unique(classes, return_counts=True)
    left_out = [
        LeftOut(f"class {label}", f"{count} {'sample' if count == 1 else 'samples'}; at least {_FEWEST} make a cloud")
        for label, count in zip(labels, counts, strict=True)
        if count < _FEWEST
    ]
    order = np.argsort(-counts, kind="stable")
    chosen = [index for index in order if counts[index] >= _FEWEST]
    if not chosen:
        return Groups({ALL: np.arange(n)}, False, (*left_out, LeftOut("classes", "all samples are one cloud instead")))
    left_out += [LeftOut(f"class {labels[i]}", f"not among the {most} largest") for i in sorted(chosen[most:])]
    kept = sorted(chosen[:most])
    return Groups({str(labels[i]): np.flatnonzero(classes == labels[i]) for i in kept}, True, tuple(left_out))


def _classes(targets: Sequence[Any], n: int) -> NDArray[np.int64] | str:
    """Return the class of each sample, or why there are none."""
    if not all(isinstance(each, Tensor) for each in targets):
        return "the targets are no tensor"
    if any(each.is_floating_point() or each.is_complex() for each in targets):
        return "the targets are no classes"
    if sum(each.numel() for each in targets) != n:
        return "each sample has several labels"
    return torch.cat([each.detach().cpu().reshape(-1).long() for each in targets]).numpy()
