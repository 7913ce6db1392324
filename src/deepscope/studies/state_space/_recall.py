"""From which linear memories a signal can be read again, each by the decoder that suits it best."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun
from deepscope.models import hippo_legt
from deepscope.studies.state_space._linear_memories import (
    antisymmetric_system,
    gaussian_system,
    last_state,
    legs_states,
)
from deepscope.studies.state_space._signals import draw_signals, middles, signals_at

#: How many units of time a signal lasts, for matrices that have a time scale.
SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)
#: Share of the mean square of a memory's numbers. Without it numbers in float64 would tell signals of few parameters
#: from traces of any faintness.
RIDGE = 1e-6
#: So many signals for each of their parameters are there to fit a decoder to.
_PER_PARAMETER = 10
#: The fast signals have so many times as many cycles.
_FASTER = 10


def compare_memories(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return the relative errors with which signals are read from memories of ``memory_size`` numbers.

    Returns
    -------
    dict
        ``legs`` and ``legt``; by scale ``gaussian``, ``antisymmetric`` and ``identity``, A being random, random and
        antisymmetric, or −I; ``fast``: of LegS, for signals of ten times as many cycles; and one of the ``signals``
        with what is ``recalled_…`` of it from LegS, and from a Gaussian A and −I at their best scales.
    """
    n, generator = case.memory_size, run.generator
    values = _values(case, case.cycles, generator)
    step, eye, ones = 1 / len(values), torch.eye(n).double(), torch.ones(n).double()
    gaussian, antisymmetric = gaussian_system(n, generator), antisymmetric_system(n, generator)
    systems = {
        "legt": [hippo_legt(n, 1.0)],
        "gaussian": [(scale * gaussian[0], scale * gaussian[1]) for scale in SCALES],
        # Its numbers would never forget; they decay by exp(−½) during a signal.
        "antisymmetric": [(scale * antisymmetric[0] - eye / 2, scale * antisymmetric[1]) for scale in SCALES],
        "identity": [(-scale * eye, scale * ones) for scale in SCALES],
    }
    states = {name: [last_state(A, B, step, values) for A, B in each] for name, each in systems.items()}
    states["legs"] = legs_states(values, n, "bilinear", (len(values),))
    recalled = {name: [recall(state, values, case.signals) for state in each] for name, each in states.items()}
    errors = {name: [error_of(each, values) for each in found] for name, found in recalled.items()}
    fast = _values(case, _FASTER * case.cycles, generator)
    (fast_state,) = legs_states(fast, n, "bilinear", (len(fast),))
    best = {name: recalled[name][errors[name].index(min(errors[name]))] for name in ("legs", "gaussian", "identity")}
    return {
        **{name: found[0] if len(found) == 1 else found for name, found in errors.items()},
        "fast": error_of(recall(fast_state, fast, case.signals), fast),
        "signal": values[:, -1].numpy(),
        **{f"recalled_{name}": each[:, -1].numpy() for name, each in best.items()},
    }


def recall(states: Tensor, values: Tensor, held_out: int) -> Tensor:
    """Return what is read of the last signals by a ridge regression that was fitted to the others.

    Parameters
    ----------
    states
        [count, n].
    values
        [steps, count].
    held_out
        How many signals are the last.

    Returns
    -------
    Tensor
        [steps, held_out].
    """
    seen, wanted = states[:-held_out], values[:, :-held_out]
    gram = seen.T @ seen
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    decoder: Tensor = torch.linalg.solve(gram + ridge, seen.T @ wanted.T)
    return (states[-held_out:] @ decoder).T


def error_of(recalled: Tensor, values: Tensor) -> float:
    """Return the root mean square of what was missed of the last signals, over that of these signals."""
    wanted = values[:, -recalled.shape[1] :]
    return float((recalled - wanted).norm() / wanted.norm())


def _values(case: Case, cycles: int, generator: torch.Generator) -> Tensor:
    count = _PER_PARAMETER * 2 * cycles + case.signals
    return signals_at(draw_signals(cycles, count, generator), middles(case.recall_length))
