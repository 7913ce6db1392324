"""States of six qubits are found from measurements in random local bases, by Born machines of complex numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.models import BornMachine, fit_born_machine

_ROOT = 1 / math.sqrt(2)
#: Bases of σz, σx and σy; rows are bras.
BASES = torch.tensor(
    [[[1, 0], [0, 1]], [[_ROOT, _ROOT], [_ROOT, -_ROOT]], [[_ROOT, -_ROOT * 1j], [_ROOT, _ROOT * 1j]]],
    dtype=torch.complex128,
)
STATES = ("ghz+", "ghz-", "w")
MEASURED = ("random", "z")


def state(name: str, qubits: int) -> Tensor:
    """Return the amplitudes of (|0…0⟩ ± |1…1⟩)/√2, or of W, the sum of all states with a single 1, [2^qubits].

    Raises
    ------
    UsageError
        An unknown state.
    """
    if name not in STATES:
        raise UsageError("unknown state", where=str(name), todo=nearest(str(name), STATES))
    found = torch.zeros(2**qubits, dtype=torch.complex128)
    if name == "w":
        found[[2**site for site in range(qubits)]] = 1
    else:
        found[0], found[-1] = 1, 1 if name == "ghz+" else -1
    found /= torch.linalg.vector_norm(found)
    return found


def reconstruct(case: Case, run: TrialRun) -> dict[str, Any]:
    """Measure a state, train a machine on the outcomes, and compare.

    Each shot measures each qubit in σx, σy or σz, one of them drawn, or all in σz. Outcomes are drawn from the exact
    state.

    Returns
    -------
    dict
        ``fidelity``: |⟨ψ|φ⟩|² of the machine and the state that was measured; ``to_plus``: of the machine and GHZ+.
    """
    if case.measured not in MEASURED:
        raise UsageError("unknown measurement", where=str(case.measured), todo=nearest(str(case.measured), MEASURED))
    # Of the two GHZ states machines begin alike; what they are shown is drawn for each.
    chosen = torch.Generator().manual_seed(derive_seed(run.seed, "shots", case.state, case.measured))
    shape = (case.shots, case.qubits)
    kinds = torch.randint(3, shape, generator=chosen) if case.measured == "random" else torch.zeros(shape).long()
    bases = BASES[kinds]
    target = BornMachine.from_amplitudes(state(case.state, case.qubits))
    outcomes = target.sample(case.shots, bases=bases, generator=chosen)
    begun = torch.Generator().manual_seed(derive_seed(run.seed, "machine"))
    machine = BornMachine(case.qubits, case.bond, dtype=torch.complex128, generator=begun)
    fit_born_machine(machine, outcomes, sweeps=case.sweeps, learning_rate=case.learning_rate, bases=bases)
    return {
        "fidelity": fidelity(machine, state(case.state, case.qubits)),
        "to_plus": fidelity(machine, state("ghz+", case.qubits)),
    }


@torch.no_grad()
def fidelity(machine: BornMachine, amplitudes: Tensor) -> float:
    """Return |⟨ψ|φ⟩|² of a machine's state and a normalised one."""
    return float((machine.amplitudes().conj() @ amplitudes).abs().square())
