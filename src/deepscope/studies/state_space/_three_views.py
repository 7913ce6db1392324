"""One linear system as a convolution, as a recurrence and as a differential equation, in steps of any size."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.models import DSS, LSSL, S4, S4D

StateSpace: TypeAlias = LSSL | S4 | S4D | DSS
#: Zero-order holds, which are exact for step functions, but for S4, which has the bilinear rule.
MODELS: dict[str, Callable[[int, int, int], StateSpace]] = {
    "lssl": lambda features, n, length: LSSL(features, n, method="zoh"),
    "s4": lambda features, n, length: S4(features, n, length=length),
    "s4d": lambda features, n, length: S4D(features, n),
    "dss": lambda features, n, length: DSS(features, n),
}
#: Steps for which the differential equation is solved.
_SOLVED = 32


def compare_views(case: Case, run: TrialRun) -> dict[str, Any]:
    """Let an untrained ``model`` of ``features`` features, without D, read noise, in float64.

    Returns
    -------
    dict
        The largest differences of outputs from those of the convolution, over the largest output: of the recurrence,
        ``recurrent``; and for zero-order holds of the differential equation, solved by a Runge–Kutta method for the
        first steps, ``continuous``; and of each value read twice, ``halved`` in steps of half the size, ``unscaled`` in
        the same steps. None of these for S4.

    Raises
    ------
    UsageError
        There is no such model.
    """
    if case.model not in MODELS:
        raise UsageError("unknown model", where=str(case.model), todo=nearest(str(case.model), MODELS))
    model = MODELS[case.model](case.features, case.state_size, case.views_length).double()
    x = torch.randn(1, case.views_length, case.features, generator=run.generator, dtype=torch.float64)
    with torch.no_grad():
        # What an input adds to the output at once is the same in all views, and would hide differences.
        model.D.zero_()
        y, stepwise = model(x), []
        state: Tensor | tuple[Tensor, ...] = model.initial_state(1)
        for each in x.unbind(1):
            output, state = model.step(each, state)
            stepwise.append(output)
        found: dict[str, Any] = {"recurrent": difference(torch.stack(stepwise, 1), y)}
        if isinstance(model, S4):
            return found | dict.fromkeys(("continuous", "halved", "unscaled"))
        twice, solved = x.repeat_interleave(2, 1), solve(model, x[:, :_SOLVED])
        return found | {
            "continuous": difference(solved, y[:, :_SOLVED]),
            "halved": difference(at_rate(model, 2)(twice)[:, 1::2], y),
            "unscaled": difference(model(twice)[:, 1::2], y),
        }


def at_rate(model: nn.Module, rate: float) -> nn.Module:
    """Return a copy of a model that reads ``rate`` times as many values in the same time: Δ over it, in all layers."""
    found = copy.deepcopy(model)
    for module in found.modules():
        if isinstance(module, StateSpace):
            with torch.no_grad():
                module.log_step.sub_(math.log(rate))
    return found


def difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference, over the largest number that there should be."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def solve(model: LSSL | S4D | DSS, x: Tensor) -> Tensor:
    """Return y = Re C s at the end of each step, s from ds/dt = A s + B x, x constant in each step.

    By an explicit method of order 8 from the system's parameters, with none of the model's discretisation.

    Parameters
    ----------
    model
        H features.
    x
        [1, time, H].
    """
    from scipy.integrate import solve_ivp

    outputs = []
    for feature, step in enumerate(model.log_step.exp().tolist()):
        A, B, C = (each[feature].detach().numpy() for each in continuous(model))

        def slope(_: float, s: Any, value: float, A: Any = A, B: Any = B) -> Any:
            return A @ s + B * value

        s = np.zeros(len(B), dtype=A.dtype)
        for value in x[0, :, feature].tolist():
            s = solve_ivp(slope, (0, step), s, method="DOP853", args=(value,), rtol=1e-12, atol=1e-14).y[:, -1]
            outputs.append((C @ s).real)
    return torch.tensor(outputs, dtype=x.dtype).reshape(x.shape[2], -1).T[None]


def continuous(model: LSSL | S4D | DSS) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, [H, N, N], B and C, [H, N], such that y = Re C s: of conjugate pairs one, counted twice in C."""
    if isinstance(model, LSSL):
        features = len(model.C)
        return model.A.expand(features, -1, -1), model.B.expand(features, -1), model.C
    A = torch.complex(-model.log_A_real.exp(), model.A_imag)
    B = torch.complex(*model.B.unbind(-1)) if isinstance(model, S4D) else torch.ones_like(A)
    return torch.diag_embed(A), B, 2 * torch.complex(*model.C.unbind(-1))
