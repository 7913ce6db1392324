"""When two ways to compute the same thing agree."""

from __future__ import annotations

import torch
from torch import Tensor

#: What two ways to compute the same may differ by, as a share of the sum of all magnitudes, by bytes per number: well
#: above rounding (6e-8 and 1e-3 per operation; TensorFloat-32 keeps 5e-4), well below what a wrong way differs by.
TOLERANCE = {8: 1e-9, 4: 2e-3, 2: 5e-2}


def agrees(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same to rounding, as a share of the largest entry.

    >>> agrees(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-5])), agrees(torch.ones(2), torch.ones(1, 2))
    (True, False)
    """
    if one.shape != other.shape:
        return False
    a, b = one.detach().double(), other.detach().double()
    scale = a.nan_to_num().abs().amax() if a.numel() else 0.0
    return bool(torch.allclose(a, b, rtol=0, atol=TOLERANCE[max(one.dtype.itemsize, 2)] * float(scale), equal_nan=True))
