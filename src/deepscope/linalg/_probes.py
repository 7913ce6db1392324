"""Random vectors for starts and for estimates of traces."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.linalg._linear_operator import LinearOperator


def gaussian(operator: LinearOperator, count: int, generator: torch.Generator) -> Tensor:
    """Return standard normal vectors, [n, count], whose directions are uniform on the sphere.

    They are drawn in float64 whatever the operator's dtype, so that both precisions start from the same vectors.
    """
    draw = torch.empty(count, operator.n, dtype=operator.dtype, device=operator.device)
    for row in draw:
        row.copy_(torch.randn(operator.n, generator=generator, device=generator.device, dtype=torch.float64))
    return draw.T


def rademacher(operator: LinearOperator, count: int, generator: torch.Generator) -> Tensor:
    """Return vectors of independent signs, [n, count]; one by one, so that they do not depend on the count."""
    signs = torch.empty(count, operator.n, dtype=operator.dtype, device=operator.device)
    for row in signs:
        row.copy_(torch.randint(2, (operator.n,), generator=generator, device=generator.device, dtype=torch.int8))
    return signs.mul_(2).sub_(1).T
