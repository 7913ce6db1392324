"""Mamba: selective state spaces."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import UsageError
from deepscope.models._linear_scan import linear_scan
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive

#: Numbers that a segment of the scan holds: what fits into a processor's cache.
_SEGMENT = 2**17


def selective_scan(
    x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the outputs of a selective state space, and its last state.

    For each channel d and state n, with step sizes Δ, input matrices B and output matrices C that differ from one step
    to the next::

        s_t[d, n] = exp(Δ_t[d] A[d, n]) s_{t−1}[d, n] + Δ_t[d] B_t[n] x_t[d],     y_t[d] = Σ_n C_t[n] s_t[d, n]

    Parameters
    ----------
    x
        [batch, time, channels].
    step
        Δ > 0, [batch, time, channels].
    A
        [channels, states], negative.
    B, C
        [batch, time, states].
    initial
        s₋₁, [batch, channels, states].

    Returns
    -------
    tuple[Tensor, Tensor]
        y, [batch, time, channels]; the last state, [batch, channels, states].

    Raises
    ------
    UsageError
        The shapes don't fit each other.

    Notes
    -----
    O(batch × time × channels × states) in time. The expanded states exist for one segment of the sequence at a time,
    short enough for a processor's cache: without gradients the memory is O(batch × time × channels), with them what a
    backward pass needs, O(batch × time × channels × states), is kept. For A < 0 all decays lie in (0, 1], also those
    that underflow to 0, so that no intermediate is larger than what the recurrence sums: |s_t| ≤ max |B x| / |A|,
    because Δ / (1 − exp(−Δ |A|)) ≤ Δ + 1 / |A|. Source: ``gu2024mamba``.

    Examples
    --------
    >>> half = torch.full((1, 3, 1), math.log(2))
    >>> y, last = selective_scan(1 / half, half, torch.tensor([[-1.0]]), *torch.ones(2, 1, 3, 1), torch.zeros(1, 1, 1))
    >>> y.flatten(), last.flatten()
    (tensor([1.0000, 1.5000, 1.7500]), tensor([1.7500]))
    """
    batch, time, channels = x.shape
    wanted = [[batch, time, channels]] * 2 + [[channels, A.shape[-1]]] + [[batch, time, A.shape[-1]]] * 2
    given = [list(each.shape) for each in (x, step, A, B, C)]
    if given != wanted:
        raise UsageError(
            f"x, step, A, B and C have the shapes {given}",
            where="selective_scan",
            todo=f"For this x and A give {wanted}.",
        )
    length = max(1, _SEGMENT // initial.numel())
    outputs, state = [], initial
    for x_, step_, B_, C_ in zip(*(each.split(length, 1) for each in (x, step, B, C)), strict=True):
        decay = torch.exp(step_[..., None] * A)
        states = linear_scan(decay, (step_ * x_)[..., None] * B_[:, :, None], state)
        outputs.append((states @ C_[..., None])[..., 0])
        state = states[:, -1]
    return torch.cat(outputs, 1), state
