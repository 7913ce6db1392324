"""Random vectors for starts and for estimates of traces."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.linalg._linear_operator import LinearOperator


def gaussian(operator: LinearOperator, count: int, generator: torch.Generator) -> Tensor:
    """Return standard normal vectors, [n, count], whose directions are uniform on the sphere."""
    draw = torch.randn(count, operator.n, generator=generator, device=generator.device, dtype=operator.dtype)
    return draw.to(operator.device).T


def rademacher(operator: LinearOperator, count: int, generator: torch.Generator) -> Tensor:
    """Return vectors of independent signs, [n, count]; one by one, so that they do not depend on the count."""
    signs = torch.empty(count, operator.n, dtype=operator.dtype, device=operator.device)
    for row in signs:
        row.copy_(torch.randint(2, (operator.n,), generator=generator, device=generator.device, dtype=torch.int8))
    return signs.mul_(2).sub_(1).T
