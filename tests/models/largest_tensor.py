"""The size of the largest tensor that a call writes: a bound of its memory that no allocator blurs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Sizes(TorchDispatchMode):
    """Notes the size of the largest tensor that is written while it is active; views of others count as little."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.largest = max(self.largest, made.untyped_storage().nbytes() // made.element_size())
        return made


@torch.no_grad()
def largest_tensor(call: Callable[[], object]) -> int:
    """Return how many numbers the largest tensor holds that a call writes."""
    with Sizes() as sizes:
        call()
    return sizes.largest
