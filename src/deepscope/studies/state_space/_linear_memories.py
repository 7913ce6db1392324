"""Memories of signals by linear systems: HiPPO's, and others of the same size."""

from __future__ import annotations

import torch
from torch import Tensor

from deepscope.models import HippoLegS, discretise, hippo_legs


def legs_states(values: Tensor, n: int, method: str, times: tuple[int, ...]) -> list[Tensor]:
    """Return what HiPPO-LegS holds of signals after some numbers of steps, [count, n] each, in float64.

    Parameters
    ----------
    values
        [steps, count].
    n
        Number of coefficients.
    method
        As in ``discretise``.
    times
        Numbers of steps, ascending.
    """
    memory = HippoLegS(values.shape[1], n, method=method).double()
    # Made in the default dtype, whose rounding the matrices still have.
    memory.A, memory.B = hippo_legs(n)
    state: Tensor | tuple[Tensor, ...] = memory.initial_state(1)
    found = []
    for step, value in enumerate(values[: times[-1]], 1):
        coefficients, state = memory.step(value[None], state)
        if step in times:
            found.append(coefficients[0])
    return found


def last_state(A: Tensor, B: Tensor, step: float, values: Tensor) -> Tensor:
    """Return what dc/dt = A c + B f holds after the last value, by the bilinear rule, [count, n].

    Parameters
    ----------
    A, B
        [n, n], [n].
    step
        Time between two values.
    values
        [steps, count].
    """
    A_bar, B_bar = discretise(A, B, step)
    state = values.new_zeros(values.shape[1], len(B))
    for value in values:
        state = state @ A_bar.T + value[:, None] * B_bar
    return state


def gaussian_system(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return A with independent Gaussian entries of variance 1/n, moved left until no eigenvalue is right of −0.1."""
    A = torch.randn(n, n, generator=generator, dtype=torch.float64) / n**0.5
    rightmost = torch.linalg.eigvals(A).real.max()
    A -= (rightmost + 0.1) * torch.eye(n, dtype=torch.float64)
    return A, torch.randn(n, generator=generator, dtype=torch.float64)


def antisymmetric_system(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return an antisymmetric A with independent Gaussian entries of variance 1/n: nothing decays."""
    A = torch.randn(n, n, generator=generator, dtype=torch.float64) / n**0.5
    return (A - A.T) / 2**0.5, torch.randn(n, generator=generator, dtype=torch.float64)
