"""Linear differential equations in steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepscope.core import UsageError

_IMPLICIT = {"forward": 0.0, "bilinear": 0.5, "backward": 1.0}


def discretise(A: Tensor, B: Tensor, step: Tensor | float, method: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Return Ā and B̄ such that c_k = Ā c_{k−1} + B̄ f_k follows dc/dt = A c + B f in steps of Δ.

    With α = 0, ½ and 1 for ``"forward"`` and ``"backward"`` Euler and the ``"bilinear"`` rule between them (the
    trapezoidal rule, Tustin's)::

        Ā = (I − αΔA)⁻¹ (I + (1 − α)ΔA),      B̄ = (I − αΔA)⁻¹ ΔB

    and for ``"zoh"``, the zero-order hold, which is exact for an f that is constant in each step::

        Ā = exp(ΔA),      B̄ = ∫₀^Δ exp(τA) B dτ

    The last is found as one exponential of [[A, B], [0, 0]], so that A need not be invertible. Euler's forward rule is
    stable only where |1 + Δλ| ≤ 1 for all eigenvalues λ of A; the others are for all with Re λ ≤ 0.
    Source: ``gu2021combining``.

    Parameters
    ----------
    A
        [..., N, N], real or complex.
    B
        [..., N].
    step
        Δ > 0, [...].
    method
        ``"forward"``, ``"backward"``, ``"bilinear"`` or ``"zoh"``.

    Returns
    -------
    tuple[Tensor, Tensor]
        Ā, [..., N, N]; B̄, [..., N].

    Raises
    ------
    UsageError
        Another method, shapes that do not fit, or a step that is a number and not above 0.

    Notes
    -----
    O(N³) for each of the systems.

    Examples
    --------
    >>> A_bar, B_bar = discretise(torch.tensor([[-1.0]]), torch.tensor([1.0]), 0.5)
    >>> A_bar, B_bar
    (tensor([[0.6000]]), tensor([0.4000]))
    """
    if A.ndim < 2 or A.shape[-2:] != (B.shape[-1:] + B.shape[-1:]):
        raise UsageError(
            f"A and B have the shapes {list(A.shape)} and {list(B.shape)}",
            where="discretise",
            todo="Give A as [..., N, N] and B as [..., N].",
        )
    if isinstance(step, float) and not 0 < step < math.inf:
        raise UsageError(f"step is {step}", where="discretise", todo="Give a finite number above 0.")
    scale = torch.as_tensor(step, dtype=A.real.dtype, device=A.device)[..., None]
    drift, drive = scale[..., None] * A, scale * B
    if method == "zoh":
        drive = drive.expand(*drift.shape[:-1])
        augmented = torch.cat((drift, drive[..., None]), -1)
        augmented = torch.cat((augmented, torch.zeros_like(augmented[..., :1, :])), -2)
        exponential = torch.linalg.matrix_exp(augmented)
        return exponential[..., :-1, :-1], exponential[..., :-1, -1]
    if method not in _IMPLICIT:
        raise UsageError(
            f"method is {method!r}", where="discretise", todo=f"Give one of {', '.join((*_IMPLICIT, 'zoh'))}."
        )
    alpha = _IMPLICIT[method]
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    right = torch.cat((identity + (1 - alpha) * drift, drive.expand(*drift.shape[:-1])[..., None]), -1)
    solved = torch.linalg.solve(identity - alpha * drift, right)
    return solved[..., :-1], solved[..., -1]
