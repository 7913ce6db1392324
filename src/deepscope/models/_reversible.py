"""Layers whose inputs are computed back from their outputs, so that none need be kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._partial_derivatives import any_dual, casts_of, cut, refuse_dropout


class ReversibleStack(nn.Module):
    """Reversible layers: from the halves (a, b) of the channels, (a, b) ← (b, a + f(b)) for one branch f after another.

    Maps [batch, channels, …] to as many numbers, of which the channels are even in number. Two branches F and G are a
    block of a reversible network: y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁). Whatever f is, b and a + f(b) give a back:
    ``inverse`` computes the input from the output, up to rounding, and the volume is kept (the Jacobian has determinant
    ±1). It has the parameters of the branches and the cost of one call of each.

    With ``recompute`` only the output is kept for the backward pass, which computes the inputs back, one branch after
    another, with one more call of each: memory does not grow with the number of branches, for a third more work. The
    gradients are those of plain differentiation up to the rounding of the inverse; they can be differentiated again.
    Running means of the branches are updated by the forward pass alone. What looks at single layers and their gradients
    sees more without ``recompute``. Source: ``gomez2017reversible``.

    Parameters
    ----------
    branches
        f₁, f₂, …, each from [batch, channels / 2, …] to as many numbers; at least one. They must be deterministic: what
        drops numbers at random in training is refused.
    recompute
        Whether the inputs are computed back; otherwise all are kept, as usual.

    Raises
    ------
    UsageError
        No branches, or one with dropout; when called: an input whose channels are odd in number, or a branch that
        changes the shape.

    Examples
    --------
    >>> stack = ReversibleStack([nn.Linear(2, 2), nn.Linear(2, 2)])
    >>> x = torch.ones(5, 4)
    >>> torch.allclose(stack.inverse(stack(x)), x, atol=1e-6)
    True
    """

    def __init__(self, branches: Iterable[nn.Module], *, recompute: bool = True) -> None:
        super().__init__()
        self.branches, self.recompute = nn.ModuleList(branches), recompute
        if not len(self.branches):
            raise UsageError("there are no branches", where="ReversibleStack", todo="Give at least one.")
        refuse_dropout(self.branches, self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, [batch, channels, …]."""
        a, b = self._halves(x)
        # Forward-mode differentiation has no backward pass, and keeps nothing as it is.
        if not self.recompute or any_dual((x, *self.parameters())):
            for branch in self.branches:
                a, b = b, a + _call(branch, b)
        else:
            a, b = _Reversed.apply(list(self.branches), a, b, *self.parameters())  # type: ignore[no-untyped-call]
        return torch.cat([a, b], 1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that has this output."""
        a, b = self._halves(y)
        for branch in reversed(list(self.branches)):
            a, b = b - _call(branch, a), a
        return torch.cat([a, b], 1)

    def _halves(self, x: Tensor) -> Sequence[Tensor]:
        if x.ndim < 2 or not x.shape[1] or x.shape[1] % 2 or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="ReversibleStack",
                todo="Give [batch, channels, …] of floating-point numbers, with an even number of channels.",
            )
        return x.chunk(2, 1)


def _call(branch: nn.Module, b: Tensor) -> Tensor:
    value: Tensor = branch(b)
    if value.shape != b.shape:
        raise UsageError(
            f"a branch maps {list(b.shape)} to {list(value.shape)}",
            where="ReversibleStack",
            todo="Give branches that return as many numbers as they get.",
        )
    return value


class _Reversed(torch.autograd.Function):
    """The branches as one operation that saves its outputs and parameters alone."""

    @staticmethod
    def forward(
        ctx: Any, branches: Sequence[nn.Module], a: Tensor, b: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.branches, ctx.casts = branches, casts_of(a)
        # Hooks of the branches see tensors without a graph, and see that they have none.
        a, b = a.detach(), b.detach()
        for branch in branches:
            a, b = b, a + _call(branch, b)
        # An output that is an input as well would not be the output of this operation.
        a = a.view_as(a)
        ctx.save_for_backward(a, b, *parameters)
        return a, b

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled()
        (grad_a, grad_b), (a, b, *parameters) = gradients, ctx.saved_tensors
        found: list[Tensor | None] = [None] * len(parameters)
        place = {id(each): index for index, each in enumerate(nn.ModuleList(ctx.branches).parameters())}
        for branch in reversed(ctx.branches):
            own = {name: place[id(each)] for name, each in branch.named_parameters()}
            with ctx.casts, torch.enable_grad():
                given = {name: cut(parameters[index], again) for name, index in own.items()}
                # Statistics that the branch collects go to copies: the batch has been counted by the forward pass.
                buffers = {name: each.clone() for name, each in branch.named_buffers()}
                x = cut(a, again)
                value = torch.func.functional_call(branch, given | buffers, (x,))
                trained = [name for name, index in own.items() if parameters[index].requires_grad]
                grad_x, *pulled = torch.autograd.grad(
                    value,
                    (x, *(given[name] for name in trained)),
                    grad_b,
                    create_graph=again,
                    allow_unused=True,
                )
            for index, gradient in zip(map(own.__getitem__, trained), pulled, strict=True):
                if gradient is not None:
                    sofar = found[index]
                    found[index] = gradient if sofar is None else sofar + gradient
            a, b = (b - value, a) if again else (b - value.detach(), a)
            grad_a, grad_b = grad_b, grad_a if grad_x is None else grad_a + grad_x
        return None, grad_a, grad_b, *found
