"""The scan of an elementwise linear recurrence, the inner loop of diagonal state space models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from deepscope.core import UsageError

#: Sequences of small states are cut into chunks of so many steps, which are scanned side by side.
_CHUNK = 16
#: Above so many numbers a step costs more in arithmetic than in calling torch, so that chunks no longer pay.
_SMALL = 1024


def linear_scan(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Return all states of the linear recurrence s_t = a_t ⊙ s_{t−1} + b_t.

    Nothing but products with the decays and sums is formed, never their inverses or exponentials of sums: for |a| ≤ 1
    no intermediate exceeds |s₋₁| + Σ_t |b_t|, so that it can't overflow where the recurrence itself does not, and a
    decay of 0 forgets. It can be differentiated any number of times, forward and backward, and batched by
    ``torch.func.vmap``: the gradient is the same recurrence, read from the end.

    Parameters
    ----------
    decay
        a, [batch, time, …], real or complex.
    drive
        b, of the same shape.
    initial
        s₋₁, [batch, …].

    Returns
    -------
    Tensor
        s, [batch, time, …].

    Raises
    ------
    UsageError
        The shapes don't fit each other, or the sequence has no step.

    Notes
    -----
    Time and memory are O(batch × time × state). A step is one call of torch, a fused multiply-add. A state of at most
    1,024 numbers, whose calls cost more than their arithmetic, is scanned in chunks of 16 steps side by side; what each
    chunk inherits from those before it is added afterwards, times the product of its decays: three times the arithmetic
    in a tenth of the calls. Source: ``martin2018parallelizing``.

    Examples
    --------
    >>> linear_scan(torch.full((1, 4), 0.5), torch.ones(1, 4), torch.zeros(1))
    tensor([[1.0000, 1.5000, 1.7500, 1.8750]])
    """
    if decay.shape != drive.shape or drive.ndim < 2 or not drive.shape[1] or initial.shape != drive[:, 0].shape:
        raise UsageError(
            f"the shapes are {list(decay.shape)}, {list(drive.shape)} and {list(initial.shape)}",
            where="linear_scan",
            todo="Give decay and drive as [batch, time, …] with at least one step, and initial as [batch, …].",
        )
    if not (torch.is_grad_enabled() and (decay.requires_grad or drive.requires_grad or initial.requires_grad)):
        return _states(decay, drive, initial)
    states: Tensor = _LinearScan.apply(decay, drive, initial)  # type: ignore[no-untyped-call]
    return states


class _LinearScan(Function):
    @staticmethod
    def forward(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        return _states(decay, drive, initial)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        decay, _, initial = inputs
        ctx.save_for_backward(decay, initial, output)
        ctx.save_for_forward(decay, initial, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With g_t = ∂L/∂s_t + a_{t+1}* g_{t+1}: ∂L/∂b_t = g_t, ∂L/∂a_t = g_t s_{t−1}*, ∂L/∂s₋₁ = a_0* g_0."""
        decay, initial, states = ctx.saved_tensors
        (gradient,) = gradients
        reversed_decay = decay.conj().roll(-1, 1).flip(1)
        drive = linear_scan(reversed_decay, gradient.flip(1), torch.zeros_like(initial)).flip(1)
        return drive * _before(states, initial).conj(), drive, drive[:, 0] * decay[:, 0].conj()

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        decay, initial, states = ctx.saved_tensors
        of_decay, of_drive, of_initial = tangents
        drive = torch.zeros_like(states) if of_drive is None else of_drive
        if of_decay is not None:
            drive = drive + of_decay * _before(states, initial)
        return linear_scan(decay, drive, torch.zeros_like(initial) if of_initial is None else of_initial)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Tensor, int]:
        merged = [
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip(tensors, in_dims, strict=True)
        ]
        states = linear_scan(*merged)
        return states.view(info.batch_size, -1, *states.shape[1:]), 0


def _before(states: Tensor, initial: Tensor) -> Tensor:
    return torch.cat((initial[:, None], states[:, :-1]), 1)


def _states(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    whole = drive.shape[1] // _CHUNK * _CHUNK if initial.numel() <= _SMALL else 0
    if not whole:
        return _steps(decay, drive, initial)
    a, b = (each[:, :whole].reshape(len(each), whole // _CHUNK, _CHUNK, *each.shape[2:]) for each in (decay, drive))
    states = _chunks(a, b, initial)
    if whole == drive.shape[1]:
        return states
    return torch.cat((states, _steps(decay[:, whole:], drive[:, whole:], states[:, -1])), 1)


def _steps(decay: Tensor, drive: Tensor, state: Tensor, dim: int = 1) -> Tensor:
    states = []
    for a, b in zip(decay.unbind(dim), drive.unbind(dim), strict=True):
        state = torch.addcmul(b, a, state)
        states.append(state)
    return torch.stack(states, dim)


def _chunks(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Scan [batch, chunks, steps, …]: each chunk from 0, then from one chunk to the next."""
    own = _steps(decay, drive, torch.zeros_like(drive[:, :, 0]), dim=2)
    product = torch.ones_like(decay[:, :, 0])
    products = torch.stack([product := product * each for each in decay.unbind(2)], 2)
    ends = _steps(products[:, :, -1], own[:, :, -1], initial)
    inherited = torch.cat((initial[:, None], ends[:, :-1]), 1)
    states = torch.addcmul(own, products, inherited[:, :, None])
    return states.reshape(len(states), states.shape[1] * states.shape[2], *initial.shape[1:])
