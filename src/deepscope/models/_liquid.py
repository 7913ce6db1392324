"""Liquid time-constant network."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from deepscope.core import Specimen, UsageError
from deepscope.models._cell import Cell
from deepscope.models._inputs import values
from deepscope.models._recurrence import Recurrence, State
from deepscope.models._sizes import positive


class LiquidTimeConstant(Cell):
    """Liquid time-constant layer: dh/dt = −(1/τ + f) ⊙ h + f ⊙ A with f = σ(W x + U h + b).

    The input sets how fast a unit follows: its time constant is τ / (1 + τ f). Between two inputs, which are
    ``interval`` apart, the equation is solved by ``unfolds`` steps Δ of the fused solver,

        h ← (h + Δ f ⊙ A) / (1 + Δ (1/τ + f)),

    which is stable for every Δ. As f > 0, each step is a mean of h, 0 and A: a state that begins between them stays in
    [min(0, A), max(0, A)] whatever the input. Maps [batch, time, input_size] to h, [batch, time, hidden_size]; the
    state is h, [batch, hidden_size], zero at first. With m inputs and n units it has n(m + n + 3) parameters; a step
    costs 2nm + 2n² unfolds operations. ``log_tau`` is ln τ, ``reversal`` A. τ begins at 1, A Gaussian, the rest uniform
    between ±1/√n. Source: ``hasani2021liquid``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    interval
        Time between two inputs, in the unit of τ.
    unfolds
        Steps of the solver between two inputs; the paper's 6.

    Raises
    ------
    UsageError
        A size below 1, or an interval that is not above 0; when called: an input or a state that does not fit.

    Examples
    --------
    >>> layer = LiquidTimeConstant(3, 8)
    >>> layer(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 7, 8]), 112)
    """

    def __init__(self, input_size: int, hidden_size: int, *, interval: float = 1.0, unfolds: int = 6) -> None:
        super().__init__(input_size, hidden_size, gates=1)
        self.interval, self.unfolds = check_interval(interval, self), positive(unfolds, "unfolds", self)
        self.log_tau = nn.Parameter(torch.empty(hidden_size))
        self.reversal = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        nn.init.zeros_(self.log_tau)
        nn.init.normal_(self.reversal)

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self._zeros(batch)

    def _weights(self) -> tuple[Tensor, ...]:
        return self.weight_hh.T, torch.exp(-self.log_tau)

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h, step, (weight, leak) = cast(Tensor, state), self.interval / self.unfolds, weights
        for _ in range(self.unfolds):
            f = torch.sigmoid(torch.addmm(projected, h, weight))
            h = (h + step * f * self.reversal) / (1 + step * (leak + f))
        return h, h


class ClosedFormContinuous(Recurrence):
    """Closed-form continuous-time layer: h' = (1 − s) ⊙ g + s ⊙ k with s = σ(a t + b), which needs no solver.

    ::

        z = 1.7159 tanh(0.666 (W [x, h] + c))                backbone
        g, k = tanh(W_g z + c_g), tanh(W_k z + c_k)          where a unit comes from, and where it goes
        a, b = W_a z + c_a, W_b z + c_b                      how fast it goes, with the time t since the last input

    It stands for the solution of a liquid time-constant layer between two inputs. Maps [batch, time, input_size] to h,
    [batch, time, hidden_size]; the state is h, [batch, hidden_size], zero at first. With m inputs, n units and a
    backbone of w it has w(m + n + 1) + 4n(w + 1) parameters and costs 2w(m + 5n) operations a step. The layers are
    ``backbone`` and ``head``, which holds g, k, a and b, one under another. Weights are Glorot's uniform, biases as
    torch's. Source: ``hasani2022closed``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    backbone
        w.
    interval
        t.

    Raises
    ------
    UsageError
        A size below 1, or an interval that is not above 0; when called: an input or a state that does not fit.

    Examples
    --------
    >>> layer = ClosedFormContinuous(3, 8, backbone=16)
    >>> layer(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 7, 8]), 736)
    """

    def __init__(self, input_size: int, hidden_size: int, *, backbone: int = 128, interval: float = 1.0) -> None:
        super().__init__(input_size)
        self.hidden_size = positive(hidden_size, "hidden_size", self)
        self.interval = check_interval(interval, self)
        self.backbone = nn.Linear(input_size + hidden_size, positive(backbone, "backbone", self))
        self.head = nn.Linear(backbone, 4 * hidden_size)
        for weight in (self.backbone.weight, *self.head.weight.chunk(4)):
            nn.init.xavier_uniform_(weight)

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self.head.weight.new_zeros(batch, self.hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step: [batch, input_size] and h to the next h, [batch, hidden_size], twice."""
        z = 1.7159 * torch.tanh(0.666 * self.backbone(torch.cat([x, cast(Tensor, state)], -1)))
        g, k, a, b = self.head(z).chunk(4, -1)
        h = torch.lerp(torch.tanh(g), torch.tanh(k), torch.sigmoid(a * self.interval + b))
        return h, h


def check_interval(interval: float, owner: object) -> float:
    """Return a time, or refuse one that is not above 0.

    Raises
    ------
    UsageError
        It is not.
    """
    if not 0 < interval < math.inf:
        raise UsageError(
            f"interval is {interval}", where=type(owner).__name__, todo="Give a finite time of more than 0."
        )
    return interval


def liquid_32() -> LiquidTimeConstant:
    """Return a liquid time-constant layer of 32 units for 2 numbers a step; 1,184 parameters. The size is ours.

    Source: ``hasani2021liquid``.

    Examples
    --------
    >>> liquid_32()(torch.zeros(2, 7, 2)).shape
    torch.Size([2, 7, 32])
    """
    return LiquidTimeConstant(2, 32)


def closed_form_32() -> ClosedFormContinuous:
    """Return a closed-form layer of 32 units with a backbone of 128, for 2 numbers a step; 20,992 parameters.

    The size of the backbone is the reference implementation's, the others are ours. Source: ``hasani2022closed``.

    Examples
    --------
    >>> closed_form_32()(torch.zeros(2, 7, 2)).shape
    torch.Size([2, 7, 32])
    """
    return ClosedFormContinuous(2, 32)


SPECIMENS = (
    Specimen(
        name="liquid-time-constant",
        title="liquid time-constant network",
        build=liquid_32,
        inputs=values(24, 2),
        parameters=1_184,
        formula="dh/dt = −(1/τ + f) ⊙ h + f ⊙ A with f = σ(W x + U h + b): the input sets each unit's time constant, "
        "τ / (1 + τ f), and its state stays between 0 and A. Solved by steps h ← (h + Δ f A) / (1 + Δ (1/τ + f)).",
        source="hasani2021liquid",
        pinned_by="tests/models/test_liquid.py::test_states_stay_between_0_and_a_whatever_the_input",
    ),
    Specimen(
        name="closed-form-continuous",
        title="closed-form continuous-time network",
        build=closed_form_32,
        inputs=values(24, 2),
        parameters=20_992,
        formula="h' = (1 − s) ⊙ g + s ⊙ k with s = σ(a t + b), where g, k, a and b are linear in a hidden layer of the "
        "input and the state (g and k through tanh), and t is the time since the last input.",
        source="hasani2022closed",
        pinned_by="tests/models/test_liquid.py::test_the_closed_form_is_that_of_the_reference_implementation",
    ),
)
