"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deepscope.core import Specimen
from deepscope.training._optimizer_arguments import (
    Parameters,
    checked_parameters,
    require_betas,
    require_gradients,
    require_rate,
    require_settings,
)


def lion(
    parameters: Parameters,
    lr: float = 1e-4,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return Lion, found by a search over programs: every weight moves by η at every step.

    With the gradient g and the momentum m, which is 0 at first::

        θ ← (1 − ηλ)θ − η·sign(β₁m + (1 − β₁)g)        m ← β₂m + (1 − β₂)g

    Far from the minimum of a quadratic it goes η a step whatever the curvature. Without momentum (β = 0) it then stays
    within η of it; momentum carries it past, so that the rate must fall at the end. Source: ``chen2023symbolic``, whose
    rate is 3 to 10 times smaller than AdamW's, with λ as many times larger. It is pytorch_optimizer's, which is
    imported at the first call.

    Parameters
    ----------
    parameters
        As torch's optimisers take them.
    lr
        η.
    betas
        β₁ of the step, β₂ of the momentum.
    weight_decay
        λ, decoupled.

    Raises
    ------
    UsageError
        An argument is out of range, there are no parameters, none of them is trained, or ``step`` finds no gradient.

    Notes
    -----
    Costs one number of memory per parameter, half of Adam's, and a step some 8 operations per parameter.
    ``copy.deepcopy`` and ``pickle`` lose settings of the library's and give what cannot step: make another, and load
    the ``state_dict``.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    >>> optimizer = lion([weight], lr=0.1)
    >>> weight.grad = torch.tensor([300.0, -0.003, 0.0])
    >>> _ = optimizer.step()
    >>> [round(each, 4) for each in weight.tolist()]
    [0.9, 1.1, 1.0]
    """
    given = checked_parameters(parameters, where="lion")
    require_settings(given, {"lr": lr, "betas": betas, "weight_decay": weight_decay}, _check)
    from pytorch_optimizer import Lion

    optimizer = Lion(given, lr=lr, betas=betas, weight_decay=weight_decay, weight_decouple=True)
    optimizer.register_step_pre_hook(require_gradients)
    return optimizer


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("lr", "weight_decay"):
        require_rate(name, settings[name], where="lion")
    require_betas(settings["betas"], 2, where="lion")


SPECIMENS = (
    Specimen(
        name="lion",
        title="step by the sign of an interpolated momentum",
        build=lion,
        formula="θ ← (1 − ηλ)θ − η·sign(β₁m + (1 − β₁)g), then m ← β₂m + (1 − β₂)g; g gradient, m momentum.",
        source="chen2023symbolic",
        pinned_by="tests/training/test_lion.py::test_it_follows_the_recursion_on_a_scripted_sequence",
    ),
)
