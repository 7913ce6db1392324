"""Which samples make up a cloud: those of a class, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscope.core import DoesNotApplyError, LeftOut
from deepscope.instruments._labels import labels_of

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

    What classes are is said of ``labels_of``.

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
    read = labels_of(targets, n)
    if read.classes is None:
        why = read.why or "the targets are numbers, not classes"
        return Groups({ALL: np.arange(n)}, False, (LeftOut("classes", f"{why}: all samples are one cloud"),))
    classes = np.array(read.names)[read.classes]
    labels, counts = np.unique(classes, return_counts=True)
    left_out = [
        *read.left_out,
        *(
            LeftOut(
                f"class {label}", f"{count} {'sample' if count == 1 else 'samples'}; at least {_FEWEST} make a cloud"
            )
            for label, count in zip(labels, counts, strict=True)
            if count < _FEWEST
        ),
    ]
    order = np.argsort(-counts, kind="stable")
    chosen = [index for index in order if counts[index] >= _FEWEST]
    if not chosen:
        return Groups({ALL: read.rows}, False, (*left_out, LeftOut("classes", "all samples are one cloud instead")))
    left_out += [LeftOut(f"class {labels[i]}", f"not among the {most} largest") for i in sorted(chosen[most:])]
    kept = sorted(chosen[:most])
    return Groups({str(labels[i]): read.rows[classes == labels[i]] for i in kept}, True, tuple(left_out))
