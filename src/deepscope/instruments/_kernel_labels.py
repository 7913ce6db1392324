"""What samples are labelled with, as numbers to which a kernel can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of n samples.

    Attributes
    ----------
    values
        [n, d], float64: one column per class with 1 where the sample is of that class, or the regression's targets.
    classes
        [n], the class of each sample; None for a regression.
    """

    values: Floats
    classes: NDArray[np.int64] | None


def labels_of(targets: list[Any], n: int, n_outputs: int) -> tuple[Labels | None, str]:
    """Return the labels, or None and the reason.

    Whole numbers, one per sample, from 0 on, are classes; floating-point numbers, as many per sample for all, are the
    targets of a regression.
    """
    if not all(isinstance(each, Tensor) for each in targets):
        return None, "the targets are no tensor"
    if len({(each.shape[1:], each.dtype) for each in targets}) != 1 or sum(map(len, targets)) != n:
        return None, "the targets are not alike for all samples"
    tensor = torch.cat(targets).detach().cpu()
    if tensor.is_floating_point():
        values = tensor.double().reshape(n, -1).numpy()
        if not np.isfinite(values).all():
            return None, "the targets are not finite"
        return (Labels(values, None), "") if np.ptp(values, axis=0).any() else (None, "all targets are the same")
    if tensor.numel() != n:
        return None, "each sample has several labels"
    classes = tensor.reshape(n).long().numpy()
    count = max(int(classes.max()) + 1, n_outputs)
    if classes.min() < 0 or count > max(n_outputs, 2):
        return None, "the labels are not the numbers of outputs"
    if len(np.unique(classes)) == 1:
        return None, "all samples are of one class"
    return Labels(np.eye(count)[classes], classes), ""
