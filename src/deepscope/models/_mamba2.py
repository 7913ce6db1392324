"""Mamba-2: selective state spaces by products of matrices."""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._inputs import tokens
from deepscope.models._language_model import LanguageModel
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._residual_stack import ResidualStack
from deepscope.models._selective_ssm import initialise_step_bias
from deepscope.models._sizes import positive

#: Steps that are read at once.
_CHUNK = 64


def state_space_dual(
    x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the outputs of a selective state space with one decay per head, and its last state.

    For each head, with x_t of P channels and matrices S of P × N states::

        S_t = exp(Δ_t A) S_{t−1} + Δ_t x_t B_tᵀ,     y_t = S_t C_t

    or, over the steps since the last state that is held, as attention without softmax whose scores decay::

        y_t = Σ_{s ≤ t} exp(A Σ_{s < r ≤ t} Δ_r) (C_t · B_s) Δ_s x_s

    which is what is computed in chunks of 64 steps, with the state passed from one to the next. For A < 0 only
    exponentials of numbers that are not positive are taken. Source: ``dao2024transformers``.

    Parameters
    ----------
    x
        [batch, time, heads, P].
    step
        Δ > 0, [batch, time, heads].
    A
        [heads], negative.
    B, C
        [batch, time, N], for all heads.
    initial
        S₋₁, [batch, heads, P, N].

    Returns
    -------
    tuple[Tensor, Tensor]
        y, [batch, time, heads, P]; the last S, [batch, heads, P, N].

    Raises
    ------
    UsageError
        The shapes don't fit each other, or the sequence has no step.

    Notes
    -----
    O(batch × time × heads × P × (N + 64)) operations, nearly all of them in products of matrices.

    Examples
    --------
    >>> x = torch.ones(1, 3, 1, 1)
    >>> half = torch.full((1, 3, 1), math.log(2))
    >>> B = C = torch.ones(1, 3, 1)
    >>> y, _ = state_space_dual(x / half[..., None], half, -torch.ones(1), B, C, torch.zeros(1, 1, 1, 1))
    >>> y.flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """
    if x.ndim != 4 or not x.shape[1]:
        raise UsageError(
            f"x is {list(x.shape)}",
            where="state_space_dual",
            todo="Give [batch, time, heads, P], with at least one step.",
        )
    batch, time, heads, size = x.shape
    states = B.shape[-1]
    wanted = [[batch, time, heads], [heads], [batch, time, states], [batch, time, states], [batch, heads, size, states]]
    given = [list(each.shape) for each in (step, A, B, C, initial)]
    if given != wanted:
        raise UsageError(
            f"step, A, B, C and initial have the shapes {given}",
            where="state_space_dual",
            todo=f"For this x and B give {wanted}.",
        )
    outputs, state = [], initial
    pieces = (torch.split(each, _CHUNK, 1) for each in (x * step[..., None], step * A, B, C))
    for drive, rate, b, c in zip(*pieces, strict=True):
        drive, total = drive.transpose(1, 2), rate.cumsum(1).mT
        later = torch.ones(total.shape[-1], total.shape[-1], dtype=torch.bool, device=x.device).triu(1)
        # Masked before the exponential: above the diagonal it might overflow.
        decay = (total[..., None] - total[..., None, :]).masked_fill(later, -torch.inf).exp()
        own = ((c @ b.mT)[:, None] * decay) @ drive
        inherited = total.exp()[..., None] * (c[:, None] @ state.mT)
        outputs.append((own + inherited).transpose(1, 2))
        left = (total[..., -1:] - total).exp()[..., None]
        state = total[..., -1, None, None].exp() * state + (drive * left).mT @ b[:, None]
    return torch.cat(outputs, 1), state


class Mamba2Mixer(Recurrence):
    """The mixer of Mamba-2: a selective state space of matrices, one decay per head, behind a convolution and gated.

    Maps [batch, time, width] to as many numbers, with d = expand × width inner channels in d / P heads::

        z, u, Δ' = W_in x,     v, B, C = SiLU(conv(u)),     Δ = softplus(Δ' + b)
        y = W_out RMSNorm((SSD(v, Δ, −exp(A_log), B, C) + D v) ⊙ SiLU(z))

    With h heads, N states and k = ``kernel_size`` it has w (2d + 2N + h) + (k + 1) (d + 2N) + 3h + d + d w parameters.
    See ``state_space_dual`` for the cost. The state is the convolution's last inputs, [batch, k − 1, d + 2N], and S,
    [batch, heads, P, N]. B and C serve all heads (one group). Source: ``dao2024transformers``.

    As in the paper's code A begins uniformly in [1, 16], D as 1 and Δ log-uniform in [0.001, 0.1].

    Parameters
    ----------
    width
        w.
    state_size
        N.
    head_size
        P, a divisor of the inner channels.
    expand
        Inner channels per channel.
    kernel_size
        Of the convolution.

    Raises
    ------
    UsageError
        A size below 1, or a head size that does not divide; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = Mamba2Mixer(16, state_size=8, head_size=4)
    >>> model(torch.zeros(2, 7, 16)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 16]), 2216)
    """

    def __init__(
        self, width: int, *, state_size: int = 128, head_size: int = 64, expand: int = 2, kernel_size: int = 4
    ) -> None:
        super().__init__(width)
        self.state_size = positive(state_size, "state_size", self)
        self.head_size = positive(head_size, "head_size", self)
        self.channels = positive(expand, "expand", self) * width
        if self.channels % head_size:
            raise UsageError(
                f"head_size is {head_size}", where="Mamba2Mixer", todo=f"Give a divisor of {self.channels} channels."
            )
        heads, read = self.channels // head_size, self.channels + 2 * state_size
        self.input_projection = nn.Linear(width, self.channels + read + heads, bias=False)
        self.convolution = CausalConvolution(read, kernel_size)
        self.activation, self.gate = nn.SiLU(), nn.SiLU()
        self.step_bias = nn.Parameter(torch.empty(heads))
        initialise_step_bias(self.step_bias)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(self.channels, eps=1e-5)
        self.output_projection = nn.Linear(self.channels, width, bias=False)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the state of the convolution, and S = 0."""
        memory = self.D.new_zeros(batch, len(self.D), self.head_size, self.state_size)
        return self.convolution.initial_state(batch), memory

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] and a state to an output and the next state."""
        gate, read, step = self._split(x)
        read, window = self.convolution.step(read, state[0])
        v, B, C = self._parts(read)
        step = functional.softplus(step + self.step_bias)
        decay = torch.exp(step * -self.A_log.exp())
        memory = decay[..., None, None] * state[1] + (step[..., None] * v)[..., None] * B[:, None, None]
        y = (memory @ C[:, None, :, None])[..., 0]
        return self._out(y, v, gate), (cast(Tensor, window), memory)

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        gate, read, step = self._split(x)
        read, window = self.convolution.scan(read, state[0])
        v, B, C = self._parts(read)
        step = functional.softplus(step + self.step_bias)
        y, memory = state_space_dual(v, step, -self.A_log.exp(), B, C, state[1])
        return self._out(y, v, gate), (cast(Tensor, window), memory)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sizes = [self.channels, self.channels + 2 * self.state_size, len(self.D)]
        gate, read, step = torch.split(self.input_projection(x), sizes, -1)
        return gate, read, step

    def _parts(self, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, B, C = torch.split(self.activation(read), [self.channels, self.state_size, self.state_size], -1)
        return v.reshape(*v.shape[:-1], len(self.D), self.head_size), B, C

    def _out(self, y: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        y = (y + self.D[:, None] * v).flatten(-2)
        return cast(Tensor, self.output_projection(self.norm(y * self.gate(gate))))


class Mamba2(ResidualStack):
    """Mamba-2: residual blocks, x + mixer(norm(x)), and a norm.

    Maps [batch, time, width] to as many numbers: the body of a ``LanguageModel``. Each of the layers has the parameters
    of a ``Mamba2Mixer`` and the width of the norm's scale; the last norm has another. As in the paper's code the norms
    are RMS norms with ε = 10⁻⁵, and the weights W_out begin 1/√layers as large as torch makes them.
    Source: ``dao2024transformers``.

    Parameters
    ----------
    width
        Channels of the input.
    num_layers
        Mixers on top of one another.
    state_size, head_size, expand, kernel_size
        As in ``Mamba2Mixer``.

    Raises
    ------
    UsageError
        A size below 1 or one that does not divide; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = Mamba2(16, 2, state_size=8, head_size=4)
    >>> model(torch.zeros(2, 7, 16)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 16]), 4480)
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        *,
        state_size: int = 128,
        head_size: int = 64,
        expand: int = 2,
        kernel_size: int = 4,
    ) -> None:
        mixers = [
            Mamba2Mixer(width, state_size=state_size, head_size=head_size, expand=expand, kernel_size=kernel_size)
            for _ in range(positive(num_layers, "num_layers", self))
        ]
        super().__init__(mixers, norm=partial(nn.RMSNorm, eps=1e-5))
        with torch.no_grad():
            for mixer in mixers:
                mixer.output_projection.weight /= math.sqrt(num_layers)


def mamba2_130m() -> LanguageModel:
    """Return the Mamba-2 language model of 24 layers and 768 channels; 128,989,632 parameters.

    Maps tokens [batch, time] below 50,288 (the 50,277 of GPT-NeoX, made a multiple of 16) to logits of the next. Head
    and embedding are tied. Source: ``dao2024transformers``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     model = mamba2_130m()
    >>> sum(p.numel() for p in model.parameters())
    128989632
    """
    return LanguageModel(50_288, 768, Mamba2(768, 24), tied=True)


SPECIMENS = (
    Specimen(
        name="mamba2-130m",
        title="language model of selective state spaces with one decay per head",
        build=mamba2_130m,
        inputs=tokens(50_288, 128),
        parameters=128_989_632,
        formula=(
            "S_t = exp(Δ_t A) S_{t−1} + Δ_t x_t B_tᵀ, y_t = S_t C_t + D x_t for each of 24 heads of 64 channels, with "
            "128 states and Δ_t, B_t, C_t of the input; behind a causal convolution of 4 steps and SiLU, multiplied "
            "with SiLU of a second projection and normed; 24 residual blocks with RMS norms, width 768."
        ),
        source="dao2024transformers",
        pinned_by="tests/models/test_mamba2.py::test_the_recurrence_is_attention_with_decaying_scores",
    ),
)
