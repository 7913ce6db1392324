"""HiPPO: memories that hold the optimal polynomial approximation of what they have read."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._discretise import discretise
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive


def hippo_legs(n: int) -> tuple[Tensor, Tensor]:
    """Return A, [n, n], and B, [n], of the scaled Legendre measure: all that was read, equally weighted.

    dc/dt = (A c + B f) / t holds for the coefficients of f on [0, t] in the orthonormal polynomials
    √(2n+1) P_n(2s/t − 1), with::

        A_nk = −√(2n+1) √(2k+1) for n > k,   −(n + 1) for n = k,   0 for n < k;      B_n = √(2n+1)

    A has the eigenvalues −1, …, −n. In float64. Source: ``gu2020hippo``.

    Examples
    --------
    >>> hippo_legs(2)[0]
    tensor([[-1.0000,  0.0000],
            [-1.7321, -2.0000]], dtype=torch.float64)
    """
    scale, order = _scales(n, "hippo_legs")
    A = torch.tril(-torch.outer(scale, scale), -1) - torch.diag(order + 1)
    return A, scale


def hippo_legt(n: int, window: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return A, [n, n], and B, [n], of the translated Legendre measure: the last θ units of time, equally weighted.

    dc/dt = A c + B f keeps the coefficients of f on [t − θ, t] in √(2n+1) P_n(2(s − t)/θ + 1), up to what it cannot
    know: the value f(t − θ) that leaves the window is replaced by that of the approximation. With orthonormal
    polynomials (λ_n = 1 in the paper) ::

        A_nk = −√(2n+1) √(2k+1) / θ for n ≥ k,   the same times (−1)^(n−k) for n < k;      B_n = √(2n+1) / θ

    In float64. Source: ``gu2020hippo``.

    Raises
    ------
    UsageError
        A size below 1, or a window θ that is not above 0.

    Examples
    --------
    >>> hippo_legt(2)[0]
    tensor([[-1.0000,  1.7321],
            [-1.7321, -3.0000]], dtype=torch.float64)
    """
    if not 0 < window < math.inf:
        raise UsageError(f"window is {window}", where="hippo_legt", todo="Give a finite time above 0.")
    scale, order = _scales(n, "hippo_legt")
    signs = (-1.0) ** (order[:, None] - order)
    product = torch.outer(scale, scale)
    return -(torch.tril(product) + torch.triu(signs * product, 1)) / window, scale / window


def hippo_lagt(n: int) -> tuple[Tensor, Tensor]:
    """Return A, [n, n], and B, [n], of the translated Laguerre measure: what was read s ago is weighted with exp(−s).

    dc/dt = A c + B f holds for the coefficients c_n = ∫ f(t − s) L_n(s) exp(−s) ds, with A_nk = −1 for n ≥ k and 0 for
    n < k, and B_n = 1 (α = 0 and β = 1 in the paper). In float64. Source: ``gu2020hippo``.

    Examples
    --------
    >>> hippo_lagt(2)[0]
    tensor([[-1.,  0.],
            [-1., -1.]], dtype=torch.float64)
    """
    _, order = _scales(n, "hippo_lagt")
    ones = torch.ones_like(order)
    return torch.tril(-torch.outer(ones, ones)), ones


def legendre_basis(n: int, points: Tensor) -> Tensor:
    """Return the first n orthonormal Legendre polynomials √(2k+1) P_k(2x − 1) at points of [0, 1], [..., n].

    A memory's coefficients c approximate what it read at the fraction x of the time that it covers by c · basis(x).
    By the three-term recursion, which is stable on [0, 1].

    Examples
    --------
    >>> legendre_basis(3, torch.tensor([1.0]))
    tensor([[1.0000, 1.7321, 2.2361]])
    """
    scale, _ = _scales(n, "legendre_basis")
    z = 2 * points - 1
    polynomials = [torch.ones_like(z), z]
    for k in range(1, n - 1):
        polynomials.append(((2 * k + 1) * z * polynomials[k] - k * polynomials[k - 1]) / (k + 1))
    return torch.stack(polynomials[:n], -1) * scale.to(points)


def _scales(n: int, where: str) -> tuple[Tensor, Tensor]:
    """Return √(2k+1) and k for k < n."""
    if not isinstance(n, int) or n < 1:
        raise UsageError(f"n is {n!r}", where=where, todo="Give a whole number of at least 1.")
    order = torch.arange(n, dtype=torch.float64)
    return torch.sqrt(2 * order + 1), order


class HippoMemory(Recurrence):
    """Memory of each feature by a fixed linear system: c_k = Ā c_{k−1} + B̄ f_k, Ā and B̄ discretised from A and B.

    Maps [batch, time, features] to the coefficients at all steps, [batch, time, features, N]. Nothing is learnt: A and
    B are buffers. A step costs O(N²) for each feature. The state is c. Source: ``gu2020hippo``.

    Parameters
    ----------
    features
        Of the input.
    A, B
        [N, N] and [N], such as ``hippo_legt`` and ``hippo_lagt`` give.
    step
        Δ, the time between two inputs.
    method
        As in ``discretise``.

    Raises
    ------
    UsageError
        Shapes that don't fit, a step that is not above 0, or another method; when called: an input or a state that does
        not fit.

    Examples
    --------
    >>> HippoMemory(3, *hippo_legt(8, window=1.0), step=0.01)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 3, 8])
    """

    A_bar: Tensor
    B_bar: Tensor

    def __init__(self, features: int, A: Tensor, B: Tensor, *, step: float = 1.0, method: str = "bilinear") -> None:
        super().__init__(features)
        if B.ndim != 1 or A.shape != (len(B), len(B)):
            raise UsageError(
                f"A and B have the shapes {list(A.shape)} and {list(B.shape)}",
                where="HippoMemory",
                todo="Give A as [N, N] and B as [N].",
            )
        for name, value in zip(("A_bar", "B_bar"), discretise(A, B, step, method), strict=True):
            self.register_buffer(name, value.to(torch.get_default_dtype()))

    def initial_state(self, batch: int) -> Tensor:
        """Return c = 0, [batch, features, N]."""
        return self.B_bar.new_zeros(batch, self.input_size, len(self.B_bar))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, features] and c to the next c, twice."""
        assert isinstance(state, Tensor)
        state = state @ self.A_bar.mT + x[..., None] * self.B_bar
        return state, state


class HippoLegS(Recurrence):
    """Memory of all that was read, HiPPO-LegS: coefficients of its projection onto Legendre polynomials.

    Maps [batch, time, features] to the coefficients at all steps, [batch, time, features, N]. It follows
    dc/dt = (A c + B f) / t, with A and B of ``hippo_legs``; at the k-th step::

        c_k = Ā_k c_{k−1} + B̄_k f_k,   discretised with Δ = 1/k;   for "zoh" Δ = log(k / (k − 1))

    It has no time scale: what is read twice as slowly leaves the same coefficients. In log t the equation is one of
    constant coefficients, so that the zero-order hold is exact: c_k is the projection of the sequence, drawn as a step
    function, to rounding. ``legendre_basis`` evaluates the approximation. Nothing is learnt. A step costs O(N³), the
    solution of a system, and an exponential for "zoh". The state is c and the number of steps read, [batch, 1].
    Source: ``gu2020hippo``.

    Parameters
    ----------
    features
        Of the input.
    memory_size
        N, the number of coefficients of each feature.
    method
        As in ``discretise``.

    Raises
    ------
    UsageError
        A size below 1 or another method; when called: an input or a state that does not fit.

    Examples
    --------
    >>> memory = HippoLegS(1, 4, method="zoh")
    >>> memory(torch.ones(1, 7, 1))[0, -1, 0].abs().round(decimals=4)
    tensor([1., 0., 0., 0.])
    """

    A: Tensor
    B: Tensor

    def __init__(self, features: int, memory_size: int = 64, *, method: str = "bilinear") -> None:
        super().__init__(features)
        self.memory_size = positive(memory_size, "memory_size", self)
        self.method = method
        A, B = hippo_legs(memory_size)
        discretise(A, B, 1.0, method)
        self.register_buffer("A", A.to(torch.get_default_dtype()))
        self.register_buffer("B", B.to(torch.get_default_dtype()))

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return c = 0, [batch, features, N], and 0 steps, [batch, 1]."""
        return self.B.new_zeros(batch, self.input_size, self.memory_size), self.B.new_zeros(batch, 1)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, features] and a state to the next c and the next state."""
        coefficients, steps = state
        if self.method == "zoh":
            # The first step covers log t from −∞ to 0: of what was before nothing is left, and f is a constant.
            first = torch.zeros_like(self.B)
            first[0] = 1
            A_bar, B_bar = discretise(self.A, self.B, torch.log1p(1 / steps.clamp(min=1))[:, 0], self.method)
            begun = steps[..., None] > 0
            A_bar, B_bar = A_bar * begun, torch.where(begun[..., 0], B_bar, first)
        else:
            A_bar, B_bar = discretise(self.A, self.B, 1 / (steps[:, 0] + 1), self.method)
        coefficients = coefficients @ A_bar.mT + x[..., None] * B_bar[:, None]
        return coefficients, (coefficients, steps + 1)


class HippoRNN(Recurrence):
    """Recurrent network with a HiPPO-LegS memory of one feature of its hidden state.

    Maps [batch, time, input_size] to the hidden states at all steps, [batch, time, hidden_size]::

        g = σ(W_g [h_{k−1}, c_{k−1}, x_k] + b_g),     h̃ = tanh(W_h [h_{k−1}, c_{k−1}, x_k] + b_h)
        h_k = (1 − g) ⊙ h_{k−1} + g ⊙ h̃,     f_k = w · h_k + b,     c_k = Ā_k c_{k−1} + B̄_k f_k

    With n inputs, d hidden units and N coefficients it has 2d (d + N + n + 1) + d + 1 parameters; the memory has none.
    A step costs O(d (d + N + n) + N³) operations. The state is h, c and the number of steps read. The paper updates
    h by any recurrent cell τ; this is its gated one. Source: ``gu2020hippo``.

    Parameters
    ----------
    input_size
        n.
    hidden_size
        d.
    memory_size
        N.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = HippoRNN(3, 8, 16)
    >>> model(torch.zeros(2, 5, 3)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 5, 8]), 457)
    """

    def __init__(self, input_size: int = 1, hidden_size: int = 128, memory_size: int = 64) -> None:
        super().__init__(input_size)
        self.hidden_size = positive(hidden_size, "hidden_size", self)
        self.memory = HippoLegS(1, memory_size)
        read = hidden_size + memory_size + input_size
        self.gate, self.gate_activation = nn.Linear(read, hidden_size), nn.Sigmoid()
        self.candidate, self.activation = nn.Linear(read, hidden_size), nn.Tanh()
        self.feature = nn.Linear(hidden_size, 1)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return h = 0, [batch, hidden_size], and the memory's state."""
        return self.feature.weight.new_zeros(batch, self.hidden_size), *self.memory.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and a state to h and the next state."""
        hidden, coefficients, steps = state
        read = torch.cat((hidden, coefficients[:, 0], x), 1)
        gate = self.gate_activation(self.gate(read))
        hidden = hidden + gate * (self.activation(self.candidate(read)) - hidden)
        _, memory = self.memory.scan(self.feature(hidden)[:, None], (coefficients, steps))
        return hidden, (hidden, *memory)


SPECIMENS = (
    Specimen(
        name="hippo-legs",
        title="recurrent network with an optimal polynomial memory",
        build=HippoRNN,
        inputs=values(28, 1),
        parameters=49_793,
        formula=(
            "c_k = Ā_k c_{k−1} + B̄_k f_k, the coefficients of all f read so far in 64 Legendre polynomials, "
            "where A_nk = −√(2n+1)√(2k+1) below the diagonal and −(n+1) on it, B_n = √(2n+1), by the bilinear rule "
            "with step 1/k; f_k = w · h_k of 128 gated hidden units h that read c, themselves and the input."
        ),
        source="gu2020hippo",
        rows=("hippo",),
        pinned_by="tests/models/test_hippo.py::test_the_memory_is_the_projection_and_others_are_not",
    ),
)
