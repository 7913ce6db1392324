"""The largest curvature at which an optimiser's steps are stable."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Stability(NamedTuple):
    """Where an optimiser's steps become unstable.

    Attributes
    ----------
    threshold
        The curvature; None where there is none.
    formula
        How it follows from the settings, with learning rate η, momentum β, dampening d and weight decay w; ``""``
        where there is none for such an optimiser.
    reason
        Why there is none.
    """

    threshold: float | None
    formula: str = ""
    reason: str = ""


def stability_threshold(optimizer: torch.optim.Optimizer) -> Stability:
    """Return the eigenvalue of the Hessian from which on gradient descent with these settings diverges.

    On a quadratic of curvature λ, with learning rate η, momentum β, dampening d and weight decay w, torch's SGD is
    stable where λ + w is below

    * 2/η without momentum,
    * (2 + 2β) / ((1 − d) η) with heavy-ball momentum,
    * (2 + 2β) / ((1 + 2β) η) with Nesterov's.

    Parameters
    ----------
    optimizer
        As it stands: learning rates that a schedule changes are those of now; at a rate of 0 nothing is unstable.

    Notes
    -----
    Source: ``cohen2021gradient``, which gives the thresholds with momentum too. They hold for the gradient of the whole
    loss; small batches keep the curvature below them.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> stability_threshold(torch.optim.SGD([weight], lr=0.1))
    Stability(threshold=20.0, formula='2/η', reason='')
    >>> stability_threshold(torch.optim.Adam([weight])).reason
    'Adam is not plain gradient descent: no curvature of the loss alone bounds its steps'
    """
    if type(optimizer) is not torch.optim.SGD:
        kind = type(optimizer).__name__
        return Stability(
            None, reason=f"{kind} is not plain gradient descent: no curvature of the loss alone bounds its steps"
        )
    settings = {
        tuple(float(group[name]) for name in ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"))
        for group in optimizer.param_groups
    }
    if len(settings) > 1:
        return Stability(None, reason="the optimiser's parameter groups have different settings")
    [(rate, momentum, dampening, decay, nesterov, maximize)] = settings
    if maximize:
        return Stability(None, reason="the optimiser maximises")
    factor, formula = 2 + 2 * momentum, "2/η"
    if momentum and nesterov:
        factor, formula = factor / (1 + 2 * momentum), "(2 + 2β)/((1 + 2β)η)"
    elif momentum and dampening:
        factor, formula = factor / (1 - dampening), "(2 + 2β)/((1 − d)η)"
    elif momentum:
        formula = "(2 + 2β)/η"
    if decay:
        formula += " − w"
    return Stability(factor / rate - decay if rate > 0 else None, formula)
