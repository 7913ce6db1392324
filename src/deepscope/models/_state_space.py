"""What linear state space models that do not change in time have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepscope.core import UsageError
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive

#: Steps that a scan takes at once.
_PIECE = 64


class Transfer(NamedTuple):
    """What k steps of a linear system do, whose inputs are x and whose state before is s; H systems of N states.

    Attributes
    ----------
    kernel
        K_l = C Ā^l B̄ for l < k, [H, k]: what an input adds to the output l steps later.
    reads
        C Ā^(l+1), [H, k, N]: what s adds to the output of each step.
    writes
        Ā^(k−1−l) B̄, [H, N, k]: what the input of each step adds to the state after the last.
    leap
        Ā^k: what s adds to the state after the last; [H, N, N], or its diagonal, [H, N].
    """

    kernel: Tensor
    reads: Tensor
    writes: Tensor
    leap: Tensor


class StateSpace(Recurrence):
    """A linear state space model of each feature: s_k = Ā s_{k−1} + B̄ x_k, y_k = C s_k + D x_k.

    Maps [batch, time, features] to as many numbers, in three ways that agree: ``step`` by step as a recurrence; as the
    convolution y = K ∗ x + D x with the ``kernel`` K_l = C Ā^l B̄, by the fast Fourier transform in O(T log T), when it
    is called without a state; and by ``scan`` in pieces of 64 steps, each a small convolution to which the state before
    is added, in O(T). A subclass says what some steps do, ``transfer``, and may know a faster way to its kernel. The
    state is s, [batch, features, N], complex where the system is. Source: ``gu2021combining``.

    As D is a factor of each feature, [features], it begins as N(0, 1).

    Parameters
    ----------
    features
        Of the input.
    state_size
        N.
    """

    def __init__(self, features: int, state_size: int) -> None:
        super().__init__(features)
        self.state_size = positive(state_size, "state_size", self)
        self.D = nn.Parameter(torch.randn(features))

    @abstractmethod
    def transfer(self, length: int) -> Transfer:
        """Return what some steps do, in O(length) for each number of a state."""

    def kernel(self, length: int) -> Tensor:
        """Return K_l for l < length, [features, length]."""
        return self.transfer(length).kernel

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, features] and s to y and the next s."""
        outputs, state = self._scan(x[:, None], state)
        return outputs[:, 0], state

    def _outputs(self, x: Tensor) -> Tensor:
        return convolve(x, self.kernel(x.shape[1])) + self.D * x

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Tensor)
        outputs, length = [], 0
        for piece in torch.split(x.mT, _PIECE, 2):
            if piece.shape[2] != length:
                length = piece.shape[2]
                kernel, reads, writes, leap = self.transfer(length)
                local = _toeplitz(kernel)
            read = torch.einsum("hln,bhn->bhl", reads, state)
            outputs.append(torch.einsum("hlm,bhm->bhl", local, piece) + (read.real if read.is_complex() else read))
            kept = leap * state if leap.ndim == 2 else torch.einsum("hmn,bhn->bhm", leap, state)
            state = kept + torch.einsum("hnl,bhl->bhn", writes, piece.to(writes.dtype))
        return torch.cat(outputs, 2).mT + self.D * x, state


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Return y_t = Σ_l K_l x_{t−l} of each feature, by the fast Fourier transform: [batch, time, features].

    Parameters
    ----------
    x
        [batch, time, features].
    kernel
        K, [features, length]; what is longer than x is without effect.

    Raises
    ------
    UsageError
        They are not of the same features, or x has no step.

    Notes
    -----
    O(T log T) for each feature. Both are padded to twice the length, so that nothing wraps around.

    Examples
    --------
    >>> convolve(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[1.0, 1.0, 0.0]])).flatten().round(decimals=4)
    tensor([1., 3., 5.])
    """
    if x.ndim != 3 or not x.shape[1] or kernel.shape[:-1] != x.shape[2:]:
        raise UsageError(
            f"x is {list(x.shape)}, the kernel {list(kernel.shape)}",
            where="convolve",
            todo="Give [batch, time, features], with at least one step, and [features, length].",
        )
    if not len(x):
        # The libraries behind the transform refuse it.
        return torch.zeros_like(x)
    time = x.shape[1]
    spectrum = torch.fft.rfft(kernel[:, :time], 2 * time).mT
    padded: Tensor = torch.fft.irfft(torch.fft.rfft(x, 2 * time, 1) * spectrum, 2 * time, 1)
    return padded[:, :time]


def krylov(A: Tensor, B: Tensor, length: int) -> Tensor:
    """Return B, A B, …, A^(length−1) B, [..., N, length], by doubling: O(N² (N + length)), in log₂ length products.

    Parameters
    ----------
    A
        [..., N, N].
    B
        [..., N].
    length
        At least 1.

    Examples
    --------
    >>> krylov(torch.tensor([[0.5]]), torch.tensor([1.0]), 4)
    tensor([[1.0000, 0.5000, 0.2500, 0.1250]])
    """
    columns = B[..., None]
    while columns.shape[-1] < length:
        columns = torch.cat((columns, A @ columns), -1)
        A = A @ A
    return columns[..., :length]


def dense_transfer(A: Tensor, B: Tensor, C: Tensor, length: int) -> Transfer:
    """Return what some steps of discrete systems do: A [H, N, N], B [H, N] and C [H, N]."""
    columns = krylov(A, B, length)
    kernel = torch.einsum("hn,hnl->hl", C, columns)
    reads = krylov(A.mT, torch.einsum("hn,hnm->hm", C, A), length).mT
    return Transfer(
        kernel.real if kernel.is_complex() else kernel, reads, columns.flip(-1), torch.linalg.matrix_power(A, length)
    )


def _toeplitz(kernel: Tensor) -> Tensor:
    """Return T_lm = K_{l−m}, 0 above the diagonal, [H, k, k]."""
    length = kernel.shape[1]
    steps = torch.arange(length, device=kernel.device)
    lags = steps[:, None] - steps
    return kernel[:, lags.clamp(min=0)] * (lags >= 0)
