"""The bytes that a call keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def saved_bytes(call: Callable[[], Tensor]) -> int:
    """Return how many bytes of different tensors the graph of a call's result holds, parameters and all."""
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        # The tensor itself is kept as well, lest another one gets its place in memory.
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    assert result.grad_fn is not None
    return sum(size for size, _ in kept.values())
