"""Random numbers for a tensor's side: of its precision and on its device, from a generator that need not be there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def standard_normal(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return independent N(0, 1) numbers, drawn where the generator is (torch's own on the CPU unless given)."""
    return torch.randn(*shape, dtype=like.dtype, device=_place(generator), generator=generator).to(like.device)


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return independent numbers uniform in [0, 1), drawn where the generator is (torch's own on the CPU unless given).

    So that the same seed draws the same numbers for a model on any device.
    """
    return torch.rand(*shape, dtype=like.dtype, device=_place(generator), generator=generator).to(like.device)


def _place(generator: torch.Generator | None) -> torch.device | str:
    return "cpu" if generator is None else generator.device
