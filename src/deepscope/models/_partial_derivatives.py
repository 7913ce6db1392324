"""What layers have in common whose backward pass computes anew what the forward pass did not keep."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.autograd import forward_ad

from deepscope.core import UsageError


def cut(tensor: Tensor, again: bool) -> Tensor:
    """Return a tensor at which differentiation stops: of the partial derivatives none is to go by way of the others.

    To differentiate once more, it is still tied to what it came from.
    """
    return tensor.view_as(tensor) if again else tensor.detach().requires_grad_(tensor.is_floating_point())


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
