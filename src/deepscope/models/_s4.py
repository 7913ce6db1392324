"""S4: structured state spaces."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._discretise import discretise
from deepscope.models._hippo import hippo_legs
from deepscope.models._inputs import values
from deepscope.models._lssl import initial_log_step
from deepscope.models._s4d import as_complex, normal_legs
from deepscope.models._sizes import positive
from deepscope.models._state_space import StateSpace, Transfer, dense_transfer

#: Numbers of a Cauchy matrix that exist at a time.
_PIECE = 2**17


class S4(StateSpace):
    """S4: a state space model of each feature whose A is normal plus rank one, A = Λ − P P*, as HiPPO-LegS is.

    Maps [batch, time, features] to as many numbers. By the bilinear rule with a learnt step Δ the kernel's generating
    function is, with r_n(z) = 2 / (2 (1 − z) / Δ − Λ_n (1 + z)) ::

        K̂(z) = Σ_{l < L} K_l z^l = k(C̃, B) − k(C̃, P) k(P*, B) (1 + z)/2 / (1 + k(P*, P) (1 + z)/2)
        k(u, v) = Σ_n u_n v_n r_n(z),        C̃ = C (I − Ā^L)

    by Woodbury's identity: a Cauchy matrix times vectors. At the L-th roots of unity that is the Fourier transform of
    the kernel, whose inverse costs O(L log L). The paper's 2/(1 + z) is multiplied into r_n, which removes its pole at
    −1. As there C̃ is what is learnt, so that no power of Ā is formed for a convolution of at most L = ``length`` steps;
    C is found from it for ``step`` and ``scan``, which go on as long as one likes, at O(N³) for each feature.

    With H features and N states, N/2 conjugate pairs, it has H (4N + 2) parameters: ``log_step``, ``log_A_real`` and
    ``A_imag`` for Λ, ``P``, ``B`` and ``C`` (real and imaginary parts, last; ``C`` for C̃), and ``D``. A convolution
    costs O(H (N + log L) L) operations; without gradients its memory is O(H (N + L)), as a Cauchy matrix exists for
    a few of its rows at a time, with them O(H N L). The state is complex, [batch, features, N], in the basis of Λ.
    Source: ``gu2022efficiently``.

    Λ, P and B begin as those of HiPPO-LegS, C as complex N(0, 1), Δ log-uniform between two step sizes.

    Parameters
    ----------
    features
        H.
    state_size
        N, even.
    length
        L. Longer sequences are read by ``scan``.
    smallest_step, largest_step
        Between which Δ begins.

    Raises
    ------
    UsageError
        A size below 1, an odd state size, or steps that are not above 0 and ascending; when called: an input or a state
        that does not fit.

    Examples
    --------
    >>> model = S4(4, 16, length=100)
    >>> model(torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 4]), 264)
    """

    def __init__(
        self,
        features: int = 8,
        state_size: int = 64,
        *,
        length: int = 1024,
        smallest_step: float = 1e-3,
        largest_step: float = 0.1,
    ) -> None:
        super().__init__(features, state_size)
        if state_size % 2:
            raise UsageError(f"state_size is {state_size}", where="S4", todo="Give an even number: pairs of states.")
        self.length = positive(length, "length", self)
        A, V, p = normal_legs(state_size)
        P, B = V.mH @ p.to(V), V.mH @ hippo_legs(state_size)[1].to(V)
        self.log_step = nn.Parameter(initial_log_step(features, smallest_step, largest_step, self))
        self.log_A_real = nn.Parameter(torch.log(-A.real).repeat(features, 1).to(self.D))
        self.A_imag = nn.Parameter(A.imag.repeat(features, 1).to(self.D))
        self.P = nn.Parameter(torch.view_as_real(P).repeat(features, 1, 1).to(self.D))
        self.B = nn.Parameter(torch.view_as_real(B).repeat(features, 1, 1).to(self.D))
        self.C = nn.Parameter(torch.randn(features, state_size // 2, 2) / math.sqrt(2))
        with torch.no_grad():
            A_bar, _ = self._discrete()
            C = _paired(as_complex(self.C))
            truncated = C - torch.einsum("hn,hnm->hm", C, torch.linalg.matrix_power(A_bar, length))
            self.C.copy_(torch.view_as_real(truncated[:, : state_size // 2]))

    def initial_state(self, batch: int) -> Tensor:
        """Return s = 0, complex, [batch, features, N]."""
        return self.D.new_zeros(batch, self.input_size, self.state_size, dtype=self.D.dtype.to_complex())

    def kernel(self, length: int) -> Tensor:
        """Return K_l for l < length, [features, length]."""
        if length > self.length:
            return super().kernel(length)
        # The kernel is real: half of the roots of unity, which the inverse transform of real numbers takes, will do.
        roots = torch.arange(self.length // 2 + 1, device=self.D.device, dtype=torch.float64)
        z = torch.polar(torch.ones_like(roots), -2 * math.pi / self.length * roots)
        A, P, B, C = self._diagonal_plus_rank_one()
        products = torch.stack((C * B, C * P, P.conj() * B, P.conj() * P), 1)
        rate = 2 / self.log_step.exp()[:, None]
        spectra = []
        for part in torch.split(z, max(1, _PIECE // A.numel())):
            # The differences of near numbers are taken in float64, before they are rounded.
            minus, half = (1 - part).to(A.dtype), ((1 + part) / 2).to(A.dtype)
            resolvent = 1 / ((rate / 2 * minus)[:, None] - A[..., None] * half)
            cb, cp, pb, pp = (products @ resolvent).unbind(1)
            spectra.append(cb - cp * pb * half / (1 + pp * half))
        kernel: Tensor = torch.fft.irfft(torch.cat(spectra, 1), self.length, 1)
        return kernel[:, :length]

    def transfer(self, length: int) -> Transfer:
        """Return what some steps do."""
        A_bar, B_bar = self._discrete()
        truncated = _paired(as_complex(self.C))
        identity = torch.eye(self.state_size, dtype=A_bar.dtype, device=A_bar.device)
        whole = identity - torch.linalg.matrix_power(A_bar, self.length)
        C = torch.linalg.solve(whole, truncated[:, None], left=False)[:, 0]
        return dense_transfer(A_bar, B_bar, C, length)

    def _outputs(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.length:
            return self._scan(x, self.initial_state(len(x)))[0]
        return super()._outputs(x)

    def _diagonal_plus_rank_one(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Λ, P, B and C̃ with both of each conjugate pair, [features, N]."""
        A = _paired(torch.complex(-self.log_A_real.exp(), self.A_imag))
        P, B, C = (_paired(as_complex(each)) for each in (self.P, self.B, self.C))
        return A, P, B, C

    def _discrete(self) -> tuple[Tensor, Tensor]:
        A, P, B, _ = self._diagonal_plus_rank_one()
        return discretise(torch.diag_embed(A) - P[..., None] * P[:, None].conj(), B, self.log_step.exp())


def _paired(half: Tensor) -> Tensor:
    return torch.cat((half, half.conj()), -1)


SPECIMENS = (
    Specimen(
        name="s4",
        title="structured state space layer",
        build=S4,
        inputs=values(100, 8),
        parameters=2_064,
        formula=(
            "y = K ∗ x + D x of each of 8 features, K_l = C Ā^l B̄ with 64 states, A = Λ − P P* of HiPPO-LegS by the "
            "bilinear rule with a learnt step; K from Cauchy products at the 1,024th roots of unity, by Woodbury."
        ),
        source="gu2022efficiently",
        pinned_by="tests/models/test_s4.py::test_the_cauchy_kernel_is_the_naive_one",
    ),
)
