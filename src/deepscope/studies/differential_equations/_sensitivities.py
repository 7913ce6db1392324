"""The reference for gradients through an equation: forward sensitivities, by another solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Of the reference's solver, relative and absolute.
TOLERANCE = 1e-12


def sensitivities(field: nn.Module, start: Tensor, end: float) -> tuple[Tensor, Tensor]:
    """Return z(T), [features], and its derivatives by all parameters and by the start, [features, both].

    S′ = (∂f/∂z) S + ∂f/∂θ is solved along with z′ = f, by SciPy's DOP853: nothing runs backwards, and nothing is
    shared with the adjoint but the field.

    Notes
    -----
    Cost: as many equations as there are parameters and features, times the features.
    """
    from scipy.integrate import solve_ivp

    names, values = zip(*field.named_parameters(), strict=True)
    sizes, shapes = [each.numel() for each in values], [each.shape for each in values]
    theta = torch.cat([each.detach().ravel() for each in values])
    features = start.shape[1]

    def slope(z: Tensor, flat: Tensor, t: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]
        found: Tensor = torch.func.functional_call(field, dict(zip(names, parts, strict=True)), (t, z[None]))[0]
        return found

    derivatives = torch.func.jacrev(slope, argnums=(0, 1))

    def rates(t: float, state: NDArray[Any]) -> NDArray[Any]:
        both, time = torch.from_numpy(state).view(features, -1), torch.tensor(t, dtype=start.dtype)
        z, s = both[:, 0], both[:, 1:]
        by_state, by_parameters = derivatives(z, theta, time)
        direct = torch.cat([by_parameters, torch.zeros(features, features, dtype=start.dtype)], 1)
        with torch.no_grad():
            rate = torch.cat([slope(z, theta, time)[:, None], by_state @ s + direct], 1)
        return np.asarray(rate.detach().numpy().ravel())

    one = torch.eye(features, dtype=start.dtype)
    first = torch.cat([start.detach().T, torch.zeros(features, len(theta), dtype=start.dtype), one], 1)
    solved = solve_ivp(rates, (0.0, end), first.numpy().ravel(), method="DOP853", rtol=TOLERANCE, atol=TOLERANCE)
    last = torch.from_numpy(solved.y[:, -1].copy()).view(features, -1)
    return last[:, 0], last[:, 1:]
