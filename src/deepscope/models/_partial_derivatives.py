"""What layers have in common whose backward pass computes anew what the forward pass did not keep."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from deepscope.core import UsageError


def cut(tensor: Tensor, again: bool) -> Tensor:
    """Return a tensor at which differentiation stops: of the partial derivatives none is to go by way of the others.

    To differentiate once more, it is still tied to what it came from.
    """
    return tensor.view_as(tensor) if again else tensor.detach().requires_grad_(tensor.is_floating_point())


def casts_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Return the mixed precision that is in force for a tensor's device, to compute anew what is computed in it.

    The backward pass runs outside of the context of the forward pass.
    """
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))


def uncast(tensor: Tensor) -> AbstractContextManager[None]:
    """Return the context in which a tensor's device computes in the precision that its tensors have."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def any_dual(tensors: Iterable[Tensor]) -> bool:
    """Return whether some of the tensors carry a tangent, that is: whether forward-mode differentiation goes on."""
    return any(forward_ad.unpack_dual(each).tangent is not None for each in tensors)  # type: ignore[no-untyped-call]


def refuse_dropout(parts: nn.Module, owner: object) -> None:
    """Refuse layers that drop numbers at random: computed anew, they would drop others.

    Raises
    ------
    UsageError
        There are some.
    """
    for name, module in parts.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise UsageError(
                f"layer {name} drops numbers at random",
                where=type(owner).__name__,
                todo="Give layers without dropout: what is computed twice must come out the same.",
            )
