"""Selective state space model, S6."""

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


def selective_scan(x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
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
        The shapes don't fit each other, or the sequence has no step.

    Notes
    -----
    O(batch × time × channels × states) in time. The expanded states exist for one segment of the sequence at a time,
    short enough for a processor's cache: without gradients the memory is O(batch × time × channels), with them what a
    backward pass needs, O(batch × time × channels × states), is kept. For A < 0 all decays lie in [0, 1] and no other
    exponential is taken, so that nothing overflows: from s = 0, |s_t| ≤ max_r (Δ_r + 1/|A|) |B_r x_r| at all times, by
    induction from Δ ≤ (1 − exp(−Δ|A|)) (Δ + 1/|A|). Source: ``gu2024mamba``.

    Examples
    --------
    >>> half = torch.full((1, 3, 1), math.log(2))
    >>> y, last = selective_scan(1 / half, half, torch.tensor([[-1.0]]), *torch.ones(2, 1, 3, 1), torch.zeros(1, 1, 1))
    >>> y.flatten(), last.flatten()
    (tensor([1.0000, 1.5000, 1.7500]), tensor([1.7500]))
    """
    if x.ndim != 3 or not x.shape[1]:
        raise UsageError(
            f"x is {list(x.shape)}",
            where="selective_scan",
            todo="Give [batch, time, channels], with at least one step.",
        )
    batch, time, channels = x.shape
    n_states = A.shape[-1]
    wanted = [
        [batch, time, channels],
        [channels, n_states],
        *[[batch, time, n_states]] * 2,
        [batch, channels, n_states],
    ]
    given = [list(each.shape) for each in (step, A, B, C, initial)]
    if given != wanted:
        raise UsageError(
            f"step, A, B, C and initial have the shapes {given}",
            where="selective_scan",
            todo=f"For this x and A give {wanted}.",
        )
    length = max(1, _SEGMENT // max(1, initial.numel()))
    outputs, state = [], initial
    for x_, step_, B_, C_ in zip(*(torch.split(each, length, 1) for each in (x, step, B, C)), strict=True):
        decay = (step_[..., None] * A).exp_()
        states = linear_scan(decay, (step_ * x_)[..., None] * B_[:, :, None], state)
        outputs.append((states @ C_[..., None])[..., 0])
        state = states[:, -1]
    return torch.cat(outputs, 1), state


class SelectiveSSM(Recurrence):
    """Selective state space model (S6): a diagonal one per channel, whose step size and matrices depend on the input.

    Maps [batch, time, channels] to as many numbers, with N states per channel::

        Δ_t = softplus(W_Δ W_r x_t + b_Δ),     B_t = W_B x_t,     C_t = W_C x_t,     A = −exp(A_log)
        s_t = exp(Δ_t A) s_{t−1} + Δ_t B_t x_t,     y_t = C_t · s_t + D x_t

    For a width d and a rank r of the step sizes it has d (r + 2N) + (r + 1) d + d N + d parameters: ``selection`` for
    W_r, W_B and W_C, ``step_size`` for W_Δ and b_Δ, ``A_log`` and ``D``. A sequence of T steps costs O(T d (N + r))
    operations; see ``selective_scan``. The state is s, [batch, channels, N].

    Without selection, Δ = softplus(b_Δ), B and C are parameters that no input changes: then the model is linear in its
    input and invariant in time, a convolution, with which the paper compares. Source: ``gu2024mamba``.

    As in the paper's code A_log begins as log n for n = 1, …, N (S4D-Real), D as 1, W_Δ uniformly in ±r^(−1/2), b_Δ so
    that softplus(b_Δ) is log-uniform in [0.001, 0.1], and the discretisation of B is Euler's.

    Parameters
    ----------
    channels
        d.
    state_size
        N.
    step_rank
        r; d / 16, rounded up, unless given.
    selective
        Whether Δ, B and C depend on the input.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = SelectiveSSM(32)
    >>> model(torch.zeros(2, 7, 32)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 32]), 1728)
    """

    def __init__(
        self, channels: int, state_size: int = 16, *, step_rank: int | None = None, selective: bool = True
    ) -> None:
        super().__init__(channels)
        self.state_size = positive(state_size, "state_size", self)
        self.step_rank = positive(math.ceil(channels / 16) if step_rank is None else step_rank, "step_rank", self)
        self.selective = selective
        if selective:
            self.selection = nn.Linear(channels, self.step_rank + 2 * state_size, bias=False)
            self.step_size = nn.Linear(self.step_rank, channels)
            nn.init.uniform_(self.step_size.weight, -(self.step_rank**-0.5), self.step_rank**-0.5)
            initialise_step_bias(self.step_size.bias)
        else:
            self.step_bias = nn.Parameter(torch.empty(channels))
            initialise_step_bias(self.step_bias)
            self.B = nn.Parameter(torch.randn(state_size))
            self.C = nn.Parameter(torch.randn(state_size))
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, state_size + 1)).repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))

    def initial_state(self, batch: int) -> Tensor:
        """Return s = 0, [batch, channels, N]."""
        return self.D.new_zeros(batch, self.input_size, self.state_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, channels] and s to y and the next s."""
        assert isinstance(state, Tensor)
        step, B, C = self._selected(x)
        decay = torch.exp(step[..., None] * -self.A_log.exp())
        state = decay * state + (step * x)[..., None] * B[:, None]
        return (state @ C[..., None])[..., 0] + self.D * x, state

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Tensor)
        step, B, C = self._selected(x)
        outputs, last = selective_scan(x, step, -self.A_log.exp(), B, C, state)
        return outputs + self.D * x, last

    def _selected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.selective:
            shape = (*x.shape[:-1], self.state_size)
            return functional.softplus(self.step_bias).expand_as(x), self.B.expand(shape), self.C.expand(shape)
        low, B, C = torch.split(self.selection(x), [self.step_rank, self.state_size, self.state_size], -1)
        return functional.softplus(self.step_size(low)), B, C


def initialise_step_bias(bias: Tensor, smallest: float = 1e-3, largest: float = 0.1) -> None:
    """Fill b such that softplus(b) is log-uniform between two step sizes.

    Examples
    --------
    >>> bias = torch.empty(1000)
    >>> initialise_step_bias(bias)
    >>> bool(functional.softplus(bias).min() > 0.0009), bool(functional.softplus(bias).max() < 0.11)
    (True, True)
    """
    with torch.no_grad():
        step = bias.uniform_(math.log(smallest), math.log(largest)).exp_()
        # The inverse of softplus, log(exp(Δ) − 1), in a form that loses no digits for small Δ.
        bias.copy_(step + torch.log(-torch.expm1(-step)))
