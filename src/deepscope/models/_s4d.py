"""Diagonal state space models: S4D and DSS."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._hippo import hippo_legs
from deepscope.models._inputs import values
from deepscope.models._lssl import initial_log_step
from deepscope.models._sizes import positive
from deepscope.models._state_space import StateSpace, Transfer


class DiagonalStateSpace(StateSpace):
    """A state space model of each feature whose A is diagonal and complex, in conjugate pairs of which one is held.

    With N/2 pairs the outputs are y_k = 2 Re Σ_n C_n s_kn + D x_k, and the kernel is K_l = 2 Re Σ_n C_n B̄_n Ā_n^l, a
    product with a Vandermonde matrix. That is never formed: with l = q + Qk, Ā^l = Ā^q Ā^(Qk) turns it into a product
    of matrices [√T, N/2] and [N/2, √T], so that the kernel takes O(N √T) exponentials, and memory for O(N √T + T)
    numbers. The state is complex, [batch, features, N/2]. Source: ``gu2022parameterization``.
    """

    def __init__(self, features: int, state_size: int) -> None:
        super().__init__(features, state_size)
        if state_size % 2:
            raise UsageError(
                f"state_size is {state_size}", where=type(self).__name__, todo="Give an even number: pairs of states."
            )

    @abstractmethod
    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log Ā, B̄ and C, complex, [features, N/2] each."""

    def initial_state(self, batch: int) -> Tensor:
        """Return s = 0, complex, [batch, features, N/2]."""
        return self.D.new_zeros(batch, self.input_size, self.state_size // 2, dtype=self.D.dtype.to_complex())

    def kernel(self, length: int) -> Tensor:
        """Return K_l for l < length, [features, length]."""
        logarithm, B, C = self.system()
        inner = math.isqrt(length - 1) + 1
        steps = torch.arange(inner, device=B.device)
        fine = torch.exp(logarithm[..., None] * steps)
        coarse = (C * B)[..., None] * torch.exp(logarithm[..., None] * (inner * steps))
        # Re(u v) = Re u Re v − Im u Im v: one product of real matrices of twice as many columns.
        left, right = torch.cat((coarse.real, -coarse.imag), 1), torch.cat((fine.real, fine.imag), 1)
        return 2 * (left.mT @ right).reshape(len(B), -1)[:, :length]

    def transfer(self, length: int) -> Transfer:
        """Return what some steps do."""
        logarithm, B, C = self.system()
        steps = torch.arange(length, device=B.device)
        powers = torch.exp(logarithm[..., None] * steps)
        reads = 2 * (C[..., None] * torch.exp(logarithm[..., None] * (steps + 1))).mT
        return Transfer(self.kernel(length), reads, powers.flip(-1) * B[..., None], torch.exp(logarithm * length))


class S4D(DiagonalStateSpace):
    """S4D: a diagonal state space model of each feature, discretised in steps of a learnt size Δ.

    Maps [batch, time, features] to as many numbers. With A_n = −exp(log_A_real) + i A_imag, one of each pair::

        "zoh":       Ā_n = exp(ΔA_n),                     B̄_n = (exp(ΔA_n) − 1) / A_n · B_n
        "bilinear":  Ā_n = (1 + ΔA_n/2) / (1 − ΔA_n/2),   B̄_n = Δ / (1 − ΔA_n/2) · B_n

    It begins, for n = 0, …, N/2 − 1, as S4D-Lin, A_n = −½ + iπn, S4D-Inv, A_n = −½ + i N/π (N/(2n+1) − 1), or S4D-LegS,
    the eigenvalues of HiPPO-LegS without the part of rank one that keeps it from being normal. B begins as 1, C as
    complex N(0, 1), Δ log-uniform. For H features and N states it has H (3N + 2) parameters: ``log_step``,
    ``log_A_real``, ``A_imag``, ``B`` and ``C`` (real and imaginary parts, last) and ``D``. A call costs
    O(H T (N + log T)) operations. Source: ``gu2022parameterization``.

    The real part of A is negative whatever the parameters, so that no power of Ā exceeds 1. In float32 an exponent lΔA
    is off by a fraction of 6·10⁻⁸ of itself, the kernel of one state thus by at most 6·10⁻⁸ |A| / (e |Re A|).

    Parameters
    ----------
    features
        H.
    state_size
        N, even.
    initial
        ``"lin"``, ``"inv"`` or ``"legs"``.
    smallest_step, largest_step
        Between which Δ begins.
    method
        ``"zoh"`` or ``"bilinear"``.

    Raises
    ------
    UsageError
        A size below 1, an odd state size, another start or method, or steps that are not above 0 and ascending; when
        called: an input or a state that does not fit.

    Examples
    --------
    >>> model = S4D(4, 16)
    >>> model(torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 4]), 200)
    """

    def __init__(
        self,
        features: int = 8,
        state_size: int = 64,
        *,
        initial: str = "lin",
        smallest_step: float = 1e-3,
        largest_step: float = 0.1,
        method: str = "zoh",
    ) -> None:
        super().__init__(features, state_size)
        if method not in ("zoh", "bilinear"):
            raise UsageError(f"method is {method!r}", where="S4D", todo="Give zoh or bilinear.")
        self.method = method
        A = _initial_diagonal(initial, state_size)
        self.log_step = nn.Parameter(initial_log_step(features, smallest_step, largest_step, self))
        self.log_A_real = nn.Parameter(torch.log(-A.real).repeat(features, 1).to(self.D))
        self.A_imag = nn.Parameter(A.imag.repeat(features, 1).to(self.D))
        self.B = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(features, state_size // 2, 1))
        self.C = nn.Parameter(torch.randn(features, state_size // 2, 2) / math.sqrt(2))

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log Ā, B̄ and C, complex, [features, N/2] each."""
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        scaled = self.log_step.exp()[:, None] * A
        B, C = as_complex(self.B), as_complex(self.C)
        if self.method == "zoh":
            return scaled, torch.expm1(scaled) / A * B, C
        below = 1 - scaled / 2
        return torch.log((1 + scaled / 2) / below), scaled / A / below * B, C


class DSS(DiagonalStateSpace):
    """Diagonal state spaces, DSS: A is diagonal, B is 1, and one complex weight per state stands for both B and C.

    Maps [batch, time, features] to as many numbers. With λ_n one of each conjugate pair and w_n complex the kernel is

        K_l = 2 Re Σ_n w_n (exp(Δλ_n) − 1) / λ_n · exp(lΔλ_n)                      DSS-exp, without ``length``
        K_l = 2 Re Σ_n w_n / λ_n · exp(lΔλ_n) / Σ_{r < L} exp(rΔλ_n)               DSS-softmax, for sequences of L

    For H features and N states it has H (2N + 2) parameters: ``log_step``, ``log_A_real``, ``A_imag``, ``C`` for w and
    ``D``. Source: ``gupta2022diagonal``.

    As in the paper λ begins as the eigenvalues of the normal part of HiPPO-LegS ("skew-HiPPO"), w as complex N(0, 2).
    It differs from the paper in two points: λ belongs to each feature and its real part is negative in both variants,
    so that the softmax can't overflow; and the imaginary parts are held for one of each pair.

    Parameters
    ----------
    features
        H.
    state_size
        N, even.
    length
        L, over which the softmax goes; longer sequences are read with the same system.
    smallest_step, largest_step
        Between which Δ begins.

    Raises
    ------
    UsageError
        A size below 1, an odd state size, or steps that are not above 0 and ascending; when called: an input or a state
        that does not fit.

    Examples
    --------
    >>> model = DSS(4, 16)
    >>> model(torch.zeros(2, 7, 4)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 4]), 136)
    """

    def __init__(
        self,
        features: int = 8,
        state_size: int = 64,
        *,
        length: int | None = None,
        smallest_step: float = 1e-3,
        largest_step: float = 0.1,
    ) -> None:
        super().__init__(features, state_size)
        self.length = None if length is None else positive(length, "length", self)
        A = _initial_diagonal("legs", state_size)
        self.log_step = nn.Parameter(initial_log_step(features, smallest_step, largest_step, self))
        self.log_A_real = nn.Parameter(torch.log(-A.real).repeat(features, 1).to(self.D))
        self.A_imag = nn.Parameter(A.imag.repeat(features, 1).to(self.D))
        self.C = nn.Parameter(torch.randn(features, state_size // 2, 2))

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log Ā, B̄ and C, complex, [features, N/2] each."""
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        scaled = self.log_step.exp()[:, None] * A
        B = torch.expm1(scaled) / A
        if self.length is not None:
            # The sum of the softmax is geometric: (exp(LΔλ) − 1) / (exp(Δλ) − 1).
            B = B / torch.expm1(self.length * scaled)
        return scaled, B, as_complex(self.C)


def as_complex(parts: Tensor) -> Tensor:
    """Return real and imaginary parts, [..., 2], as complex numbers, [...].

    Not as a view, which wants an even offset in memory: parameters may be pieces of a longer vector.
    """
    return torch.complex(*parts.unbind(-1))


def _initial_diagonal(initial: str, state_size: int) -> Tensor:
    """Return A_n for one of each pair, complex, [N/2], in float64."""
    n = torch.arange(state_size // 2, dtype=torch.float64)
    if initial == "lin":
        imaginary = math.pi * n
    elif initial == "inv":
        imaginary = state_size / math.pi * (state_size / (2 * n + 1) - 1)
    elif initial == "legs":
        imaginary = normal_legs(state_size)[0].imag
    else:
        raise UsageError(f"initial is {initial!r}", where="S4D", todo="Give lin, inv or legs.")
    return torch.complex(torch.full_like(n, -0.5), imaginary)


def normal_legs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return Λ, V and p such that HiPPO-LegS is A = V Λ V* − p pᵀ with V unitary: normal plus rank one.

    A + p pᵀ with p_n = √(n + ½) is −½ I and a skew-symmetric matrix. Of the conjugate pairs in Λ those with positive
    imaginary part are returned, ascending, and their columns of V: Λ [n/2], V [n, n/2], p [n], for even n.

    Source: ``gu2022efficiently``.

    Examples
    --------
    >>> normal_legs(4)[0].real
    tensor([-0.5000, -0.5000], dtype=torch.float64)
    """
    A, B = hippo_legs(n)
    p = B / math.sqrt(2)
    skew = A + torch.outer(p, p) + 0.5 * torch.eye(n, dtype=A.dtype)
    # −i times a skew-symmetric matrix is Hermitian: its eigenvalues are real, ascending, in pairs ±.
    imaginary, V = torch.linalg.eigh(-1j * skew)
    half = imaginary[n // 2 :]
    return torch.complex(torch.full_like(half, -0.5), half), V[:, n // 2 :], p


SPECIMENS = (
    Specimen(
        name="s4d",
        title="diagonal state space layer",
        build=S4D,
        inputs=values(100, 8),
        parameters=1_552,
        formula=(
            "y = K ∗ x + D x of each of 8 features, K_l = 2 Re Σ_n C_n B̄_n Ā_n^l over 32 conjugate pairs of states, "
            "Ā_n = exp(ΔA_n), B̄_n = (exp(ΔA_n) − 1) / A_n · B_n, from A_n = −½ + iπn."
        ),
        source="gu2022parameterization",
        pinned_by="tests/models/test_s4d.py::test_the_kernel_is_that_of_the_recurrence_and_a_vandermonde_product",
    ),
    Specimen(
        name="dss",
        title="diagonal state space layer with one weight per state",
        build=DSS,
        inputs=values(100, 8),
        parameters=1_040,
        formula=(
            "y = K ∗ x + D x of each of 8 features, K_l = 2 Re Σ_n w_n (exp(Δλ_n) − 1) / λ_n · exp(lΔλ_n) over 32 "
            "conjugate pairs, from the eigenvalues λ of the normal part of HiPPO-LegS."
        ),
        source="gupta2022diagonal",
        pinned_by="tests/models/test_s4d.py::test_dss_is_the_softmax_of_its_paper",
    ),
)
