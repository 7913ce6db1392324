"""Mamba: selective state spaces."""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen
from deepscope.models._causal_convolution import CausalConvolution
from deepscope.models._inputs import tokens
from deepscope.models._language_model import LanguageModel
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._residual_stack import ResidualStack
from deepscope.models._selective_ssm import SelectiveSSM
from deepscope.models._sizes import positive


class MambaMixer(Recurrence):
    """The mixer of Mamba: a selective state space behind a short convolution, gated.

    Maps [batch, time, width] to as many numbers, with d = expand × width inner channels::

        u, z = W_in x,     v = SiLU(conv(u)),     y = W_out (S6(v) ⊙ SiLU(z))

    For a width w and k = ``kernel_size`` it has 3 w d + (k + 1) d parameters and those of ``SelectiveSSM``; a step
    costs 3 w d multiply-adds and O(d (N + r)) of the state space. The state is the convolution's last inputs,
    [batch, k − 1, d], and that of the state space, [batch, d, N]. Without gate z does not exist, nor its parameters;
    without selection as well, all that comes after SiLU is linear and invariant in time: what the paper compares with.
    Source: ``gu2024mamba``.

    Parameters
    ----------
    width
        w.
    state_size
        N, states per channel.
    expand
        Inner channels per channel.
    kernel_size
        Of the convolution.
    step_rank
        Rank of the step sizes; w / 16, rounded up, unless given.
    selective
        Whether Δ, B and C depend on the input.
    gated
        Whether the output is multiplied with SiLU(z).

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = MambaMixer(16)
    >>> model(torch.zeros(2, 7, 16)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 16]), 3360)
    """

    def __init__(
        self,
        width: int,
        *,
        state_size: int = 16,
        expand: int = 2,
        kernel_size: int = 4,
        step_rank: int | None = None,
        selective: bool = True,
        gated: bool = True,
    ) -> None:
        super().__init__(width)
        channels = positive(expand, "expand", self) * width
        self.input_projection = nn.Linear(width, (1 + gated) * channels, bias=False)
        self.convolution = CausalConvolution(channels, kernel_size)
        self.activation = nn.SiLU()
        self.state_space = SelectiveSSM(
            channels,
            state_size,
            step_rank=math.ceil(width / 16) if step_rank is None else step_rank,
            selective=selective,
        )
        self.gate = nn.SiLU() if gated else None
        self.output_projection = nn.Linear(channels, width, bias=False)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the state of the convolution and that of the state space."""
        return self.convolution.initial_state(batch), self.state_space.initial_state(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, width] and a state to an output and the next state."""
        u, z = self._split(x)
        u, window = self.convolution.step(u, state[0])
        y, memory = self.state_space.step(self.activation(u), state[1])
        return self._gate(y, z), (cast(Tensor, window), cast(Tensor, memory))

    def _scan(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        u, z = self._split(x)
        u, window = self.convolution.scan(u, state[0])
        y, memory = self.state_space.scan(self.activation(u), state[1])
        return self._gate(y, z), (cast(Tensor, window), cast(Tensor, memory))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        projected = self.input_projection(x)
        return (projected, None) if self.gate is None else projected.chunk(2, -1)

    def _gate(self, y: Tensor, z: Tensor | None) -> Tensor:
        return cast(Tensor, self.output_projection(y if self.gate is None else y * self.gate(z)))


class Mamba(ResidualStack):
    """Mamba: residual blocks of selective state spaces, x + mixer(norm(x)), and a norm.

    Maps [batch, time, width] to as many numbers: the body of a ``LanguageModel``. Each of the layers has the parameters
    of a ``MambaMixer`` and the width of the norm's scale; the last norm has another. As in the paper's code the norms
    are RMS norms with ε = 10⁻⁵, and the weights W_out begin 1/√layers as large as torch makes them.
    Source: ``gu2024mamba``.

    Parameters
    ----------
    width
        Channels of the input.
    num_layers
        Mixers on top of one another.
    state_size, expand, kernel_size, step_rank, selective, gated
        As in ``MambaMixer``.

    Raises
    ------
    UsageError
        A size below 1; when called: an input or a state that does not fit.

    Examples
    --------
    >>> model = Mamba(16, 2)
    >>> model(torch.zeros(2, 7, 16)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 7, 16]), 6768)
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        *,
        state_size: int = 16,
        expand: int = 2,
        kernel_size: int = 4,
        step_rank: int | None = None,
        selective: bool = True,
        gated: bool = True,
    ) -> None:
        mixers = [
            MambaMixer(
                width,
                state_size=state_size,
                expand=expand,
                kernel_size=kernel_size,
                step_rank=step_rank,
                selective=selective,
                gated=gated,
            )
            for _ in range(positive(num_layers, "num_layers", self))
        ]
        super().__init__(mixers, norm=partial(nn.RMSNorm, eps=1e-5))
        with torch.no_grad():
            for mixer in mixers:
                mixer.output_projection.weight /= math.sqrt(num_layers)


def mamba_130m() -> LanguageModel:
    """Return the Mamba language model of 24 layers and 768 channels; 129,135,360 parameters.

    Maps tokens [batch, time] below 50,280 (the 50,277 of GPT-NeoX, made a multiple of 8) to logits of the next. Head
    and embedding are tied. Source: ``gu2024mamba``.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     model = mamba_130m()
    >>> sum(p.numel() for p in model.parameters())
    129135360
    """
    return LanguageModel(50_280, 768, Mamba(768, 24), tied=True)


SPECIMENS = (
    Specimen(
        name="mamba-130m",
        title="language model of selective state spaces",
        build=mamba_130m,
        inputs=tokens(50_280, 32),
        parameters=129_135_360,
        formula=(
            "s_t = exp(Δ_t A) s_{t−1} + Δ_t B_t x_t, y_t = C_t · s_t + D x_t for each of 1,536 inner channels, with 16 "
            "states and Δ_t, B_t, C_t linear in the input (Δ through softplus); behind a causal convolution of 4 steps "
            "and SiLU, multiplied with SiLU of a second projection; 24 residual blocks with RMS norms, width 768."
        ),
        source="gu2024mamba",
        pinned_by="tests/models/test_mamba.py::test_step_scan_and_convolution_agree",
    ),
)
