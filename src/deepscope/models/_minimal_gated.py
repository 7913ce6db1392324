"""Minimal gated unit and its variants."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Specimen, UsageError
from deepscope.models._cell import Cell
from deepscope.models._inputs import values
from deepscope.models._recurrence import State

Gate = Literal["full", "state and bias", "state", "bias"]


class MinimalGatedUnit(Cell):
    """Layer of minimal gated units: h' = (1 − f) ⊙ h + f ⊙ n with one gate f, and n = tanh(W x + U (f ⊙ h) + b).

    ============  ==========================  ===================
    unit          gate f                      parameters
    ============  ==========================  ===================
    MGU           σ(W_f x + U_f h + b_f)      2n² + 2nm + 2n
    MGU1          σ(U_f h + b_f)              2n² + nm + 2n
    MGU2          σ(U_f h)                    2n² + nm + n
    MGU3          σ(b_f)                      n² + nm + 2n
    ============  ==========================  ===================

    with m inputs and n units. Maps [batch, time, input_size] to h, [batch, time, hidden_size]; the state is h,
    [batch, hidden_size], zero at first. A step costs 2n operations for each n + m of the matrices. ``weight_ih``,
    ``weight_hh`` and ``bias`` hold the candidate's block, ``gate_ih``, ``gate_hh`` and ``gate_bias`` those of the gate
    that there are; they begin uniform between ±1/√n, as torch's. Sources: MGU ``zhou2016minimal``, its variants
    ``heck2017simplified``.

    Parameters
    ----------
    input_size
        m.
    hidden_size
        n.
    gate
        What the gate sees: ``"full"``, ``"state and bias"``, ``"state"`` or ``"bias"``, in the order of the table.

    Raises
    ------
    UsageError
        A size below 1, or another gate; when called: an input or a state that does not fit.

    Examples
    --------
    >>> unit = MinimalGatedUnit(3, 8, gate="state")
    >>> unit(torch.zeros(2, 7, 3)).shape, sum(p.numel() for p in unit.parameters())
    (torch.Size([2, 7, 8]), 160)
    """

    def __init__(self, input_size: int, hidden_size: int, *, gate: Gate = "full") -> None:
        if gate not in get_args(Gate):
            raise UsageError(
                f"gate is {gate!r}", where="MinimalGatedUnit", todo=f"Give one of {', '.join(get_args(Gate))}."
            )
        super().__init__(input_size, hidden_size, gates=1)
        self.gate = gate
        sees_input, sees_state, has_bias = gate == "full", gate != "bias", gate != "state"
        self.gate_ih = nn.Parameter(torch.empty(hidden_size, input_size)) if sees_input else None
        self.gate_hh = nn.Parameter(torch.empty(hidden_size, hidden_size)) if sees_state else None
        self.gate_bias = nn.Parameter(torch.empty(hidden_size)) if has_bias else None
        self.reset_parameters()

    def initial_state(self, batch: int) -> Tensor:
        """Return h = 0, [batch, hidden_size]."""
        return self._zeros(batch)

    def _project(self, x: Tensor) -> Tensor:
        candidate = super()._project(x)
        gate = torch.zeros_like(candidate)
        if self.gate_ih is not None:
            gate = functional.linear(x, self.gate_ih)
        if self.gate_bias is not None:
            gate = gate + self.gate_bias
        return torch.cat([gate, candidate], -1)

    def _weights(self) -> tuple[Tensor, ...]:
        return (self.weight_hh.T,) if self.gate_hh is None else (self.weight_hh.T, self.gate_hh.T)

    def _update(self, projected: Tensor, state: State, weights: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h = cast(Tensor, state)
        gate, candidate = projected.chunk(2, -1)
        if self.gate_hh is not None:
            gate = torch.addmm(gate, h, weights[1])
        f = torch.sigmoid(gate)
        h = torch.lerp(h, torch.tanh(torch.addmm(candidate, f * h, weights[0])), f)
        return h, h


def mgu() -> MinimalGatedUnit:
    """Return a layer of 100 minimal gated units for rows of digits, 28 numbers a step; 25,800 parameters.

    Source: ``zhou2016minimal``.

    Examples
    --------
    >>> mgu()(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 28, 100])
    """
    return MinimalGatedUnit(28, 100)


def mgu1() -> MinimalGatedUnit:
    """Return 100 units whose gate sees the state and has a bias; 23,000 parameters.

    Source: ``heck2017simplified``.

    Examples
    --------
    >>> mgu1()(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 28, 100])
    """
    return MinimalGatedUnit(28, 100, gate="state and bias")


def mgu2() -> MinimalGatedUnit:
    """Return 100 units whose gate sees the state alone; 22,900 parameters.

    Source: ``heck2017simplified``.

    Examples
    --------
    >>> mgu2()(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 28, 100])
    """
    return MinimalGatedUnit(28, 100, gate="state")


def mgu3() -> MinimalGatedUnit:
    """Return 100 units whose gate is a bias; 13,000 parameters.

    Source: ``heck2017simplified``.

    Examples
    --------
    >>> mgu3()(torch.zeros(2, 28, 28)).shape
    torch.Size([2, 28, 100])
    """
    return MinimalGatedUnit(28, 100, gate="bias")


SPECIMENS = (
    Specimen(
        name="mgu",
        title="minimal gated units",
        build=mgu,
        inputs=values(28, 28),
        parameters=25_800,
        formula="h ← (1 − f) ⊙ h + f ⊙ tanh(W x + U (f ⊙ h) + b) with one gate f = σ(W_f x + U_f h + b_f): gated "
        "recurrent units whose reset and update gates are one.",
        source="zhou2016minimal",
        pinned_by="tests/models/test_minimal_gated.py::test_it_is_a_gru_whose_gates_are_one",
    ),
    Specimen(
        name="mgu1",
        title="minimal gated units whose gate does not see the input",
        build=mgu1,
        inputs=values(28, 28),
        parameters=23_000,
        formula="Minimal gated units with f = σ(U_f h + b_f).",
        source="heck2017simplified",
        pinned_by="tests/models/test_minimal_gated.py::test_parameters_are_those_of_the_papers_table",
    ),
    Specimen(
        name="mgu2",
        title="minimal gated units whose gate sees the state alone",
        build=mgu2,
        inputs=values(28, 28),
        parameters=22_900,
        formula="Minimal gated units with f = σ(U_f h).",
        source="heck2017simplified",
        pinned_by="tests/models/test_minimal_gated.py::test_parameters_are_those_of_the_papers_table",
    ),
    Specimen(
        name="mgu3",
        title="minimal gated units whose gate is a bias",
        build=mgu3,
        inputs=values(28, 28),
        parameters=13_000,
        formula="Minimal gated units with f = σ(b_f).",
        source="heck2017simplified",
        pinned_by="tests/models/test_minimal_gated.py::test_parameters_are_those_of_the_papers_table",
    ),
)
