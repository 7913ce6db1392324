"""HiPPO-LegS beside the exact projection of what it has read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun
from deepscope.models import hippo_legt, legendre_basis
from deepscope.studies.state_space._linear_memories import last_state, legs_states
from deepscope.studies.state_space._signals import (
    draw_signals,
    held_projection,
    middles,
    projection,
    quadrature,
    signals_at,
)

#: The longest signals are so many times as long as each of the others.
SHORTER = (8, 4, 2, 1)


def follow_projection(case: Case, run: TrialRun) -> dict[str, Any]:
    """Let a memory of ``memory_size`` coefficients read signals, sampled ever more densely.

    Returns
    -------
    dict
        ``lengths``, and ``errors``, [lengths]: of the coefficients by the bilinear rule, the worst signal.
        ``reconstruction``: root mean square of signal minus approximation after the longest over that of the signals;
        ``least``: the same of the exact projection, which no polynomial of this degree falls below.
        ``held``: the worst error of the coefficients by the zero-order hold, beside the projection of the step function
        read so far, after each quarter of ``held_length`` steps. ``slower``: how much they change when each value is
        read twice; ``window``: how much those of HiPPO-LegT do, whose window is as long as the signal.
        All errors are of vectors of coefficients, relative to their norm.
    """
    n, amplitudes = case.memory_size, draw_signals(case.cycles, case.signals, run.generator)
    lengths = [case.length // shorter for shorter in SHORTER]
    exact, errors = projection(amplitudes, n), []
    for length in lengths:
        (found,) = legs_states(signals_at(amplitudes, middles(length)), n, "bilinear", (length,))
        errors.append(relative(found, exact))
    return {
        "lengths": lengths,
        "errors": errors,
        "reconstruction": _distance(amplitudes, found),
        "least": _distance(amplitudes, exact),
        **_as_step_functions(case, amplitudes),
    }


def _as_step_functions(case: Case, amplitudes: Tensor) -> dict[str, float]:
    n, steps = case.memory_size, case.held_length
    values = signals_at(amplitudes, middles(steps))
    times = tuple(steps * quarter // 4 for quarter in (1, 2, 3, 4))
    found = legs_states(values, n, "zoh", times)
    slowly = values.repeat_interleave(2, 0)
    (slower,) = legs_states(slowly, n, "zoh", (2 * steps,))
    window = hippo_legt(n, 1.0)
    return {
        "held": max(relative(each, held_projection(values[:time], n)) for each, time in zip(found, times, strict=True)),
        "slower": relative(slower, found[-1]),
        "window": relative(last_state(*window, 1 / steps, slowly), last_state(*window, 1 / steps, values)),
    }


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the largest distance of a row from what it should be, relative to the latter's norm."""
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def _distance(amplitudes: Tensor, coefficients: Tensor) -> float:
    nodes, weights = quadrature()
    signals = signals_at(amplitudes, nodes)
    missed = signals - legendre_basis(coefficients.shape[1], nodes) @ coefficients.T
    squares = torch.stack([(weights[:, None] * each.square()).sum() for each in (missed, signals)])
    return (squares[0] / squares[1]).sqrt().item()
