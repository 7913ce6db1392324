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
        return _states(decay, drive, initial, reverse=False)
    return _scan(decay, drive, initial, reverse=False)


def _scan(decay: Tensor, drive: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    states: Tensor = _LinearScan.apply(decay, drive, initial, reverse)  # type: ignore[no-untyped-call]
    return states


class _LinearScan(Function):
    """s_t = a_t ⊙ s_{t−1} + b_t, or, in reverse, s_t = a_t ⊙ s_{t+1} + b_t with ``initial`` behind the last step."""

    @staticmethod
    def forward(decay: Tensor, drive: Tensor, initial: Tensor, reverse: bool) -> Tensor:
        return _states(decay, drive, initial, reverse=reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        decay, _, initial, ctx.reverse = inputs
        ctx.save_for_backward(decay, initial, output)
        ctx.save_for_forward(decay, initial, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """With g_t = ∂L/∂s_t + a_{t+1}* g_{t+1}: ∂L/∂b_t = g_t, ∂L/∂a_t = g_t s_{t−1}*, ∂L/∂s₋₁ = a_0* g_0."""
        decay, initial, states = ctx.saved_tensors
        (gradient,) = gradients
        last = slice(None, 1) if ctx.reverse else slice(-1, None)
        end = gradient[:, last]
        if states.shape[1] == 1:
            drive = gradient
        elif ctx.reverse:
            drive = torch.cat((end, _scan(decay[:, :-1].conj(), gradient[:, 1:], end[:, 0], reverse=False)), 1)
        else:
            drive = torch.cat((_scan(decay[:, 1:].conj(), gradient[:, :-1], end[:, 0], reverse=True), end), 1)
        first = -1 if ctx.reverse else 0
        of_decay = drive * _before(states, initial, reverse=ctx.reverse).conj()
        return of_decay, drive, drive[:, first] * decay[:, first].conj(), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        decay, initial, states = ctx.saved_tensors
        of_decay, of_drive, of_initial, _ = tangents
        drive = torch.zeros_like(states) if of_drive is None else of_drive
        if of_decay is not None:
            drive = drive + of_decay * _before(states, initial, reverse=ctx.reverse)
        start = torch.zeros_like(initial) if of_initial is None else of_initial
        return _scan(decay, drive, start, reverse=ctx.reverse)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        *tensors, reverse = inputs
        merged = [
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)
            for each, dim in zip(tensors, in_dims[:3], strict=True)
        ]
        states = _scan(*merged, reverse=reverse)
        return states.view(info.batch_size, -1, *states.shape[1:]), 0


def _before(states: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    """Return what each state came from."""
    start = initial[:, None]
    return torch.cat((states[:, 1:], start) if reverse else (start, states[:, :-1]), 1)


def _states(decay: Tensor, drive: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    time = drive.shape[1]
    rest = time % _CHUNK if initial.numel() <= _SMALL else time
    if rest == time:
        return _steps(decay, drive, initial, reverse=reverse)
    # What fills no chunk comes after those that are filled, seen in the direction of the scan.
    shape = len(drive), time // _CHUNK, _CHUNK, *drive.shape[2:]
    a, b = (each.narrow(1, rest if reverse else 0, time - rest).reshape(shape) for each in (decay, drive))
    states = _chunks(a, b, initial, reverse=reverse)
    if not rest:
        return states
    a, b = (each.narrow(1, 0 if reverse else time - rest, rest) for each in (decay, drive))
    tail = _steps(a, b, states[:, 0 if reverse else -1], reverse=reverse)
    return torch.cat((tail, states) if reverse else (states, tail), 1)


def _steps(decay: Tensor, drive: Tensor, state: Tensor, *, reverse: bool, dim: int = 1) -> Tensor:
    pairs = list(zip(decay.unbind(dim), drive.unbind(dim), strict=True))
    states = []
    for a, b in reversed(pairs) if reverse else pairs:
        state = torch.addcmul(b, a, state)
        states.append(state)
    return torch.stack(states[::-1] if reverse else states, dim)


def _chunks(decay: Tensor, drive: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    """Scan [batch, chunks, steps, …]: each chunk from 0, then from one chunk to the next."""
    zeros = torch.zeros_like(drive[:, :, 0])
    own = _steps(decay, drive, zeros, reverse=reverse, dim=2)
    products = _steps(decay, torch.zeros_like(decay), torch.ones_like(zeros), reverse=reverse, dim=2)
    end = 0 if reverse else -1
    ends = _steps(products[:, :, end], own[:, :, end], initial, reverse=reverse)
    inherited = _before(ends, initial, reverse=reverse)
    states = torch.addcmul(own, products, inherited[:, :, None])
    return states.reshape(len(states), states.shape[1] * states.shape[2], *initial.shape[1:])
