"""Adan: adaptive Nesterov momentum."""

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


def adan(
    parameters: Parameters,
    lr: float = 1e-3,
    *,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return Adan, which adapts to the gradient that Nesterov's momentum would see, without evaluating it there.

    With the gradient g of step t = 1, 2, … of its group, d = gₜ − gₜ₋₁ (0 where there is none before), and all powers
    by component::

        m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)d        n ← β₃n + (1 − β₃)(g + β₂d)²
        θ ← [θ − η (m/(1 − β₁ᵗ) + β₂v/(1 − β₂ᵗ)) / (√(n/(1 − β₃ᵗ)) + ε)] / (1 + ηλ)

    Source: ``xie2024adan``, whose β are 1 − β here, and which starts from m = g and n = g² in place of dividing by
    1 − βᵗ; this is the authors' implementation. Weight decay λ is decoupled and proximal. It is pytorch_optimizer's,
    which is imported at the first call.

    Parameters
    ----------
    parameters
        As torch's optimisers take them.
    lr
        η.
    betas
        β₁ of the gradient, β₂ of its difference, β₃ of the square.
    eps, weight_decay
        ε and λ.

    Raises
    ------
    UsageError
        An argument is out of range, there are no parameters, none of them is trained, or ``step`` finds no gradient.

    Notes
    -----
    Costs four numbers of memory per parameter, and a step some 20 operations per parameter. ``copy.deepcopy`` and
    ``pickle`` lose settings of the library's and give what cannot step: make another, and load the ``state_dict``.

    Examples
    --------
    The first step is η·sign(g), whatever the gradient's size:

    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    >>> optimizer = adan([weight], lr=0.1)
    >>> weight.grad = torch.tensor([300.0, -0.003])
    >>> _ = optimizer.step()
    >>> [round(each, 4) for each in weight.tolist()]
    [0.9, 1.1]
    """
    given = checked_parameters(parameters, where="adan")
    require_settings(given, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, _check)
    from pytorch_optimizer import Adan

    # Its loop over single parameters leaves the gradients negated; the batched one, asked for here, leaves them alone.
    optimizer = Adan(given, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=True)
    optimizer.register_step_pre_hook(require_gradients)
    return optimizer


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("lr", "eps", "weight_decay"):
        require_rate(name, settings[name], where="adan")
    require_betas(settings["betas"], 3, where="adan")


SPECIMENS = (
    Specimen(
        name="adan",
        title="adaptive step with Nesterov's momentum from gradient differences",
        build=adan,
        formula=(
            "m, v and n are moving averages (β₁, β₂, β₃) of the gradient g, of its change d and of (g + β₂d)²; "
            "θ ← [θ − η(m̂ + β₂v̂)/(√n̂ + ε)]/(1 + ηλ), the hats dividing by 1 − βᵗ."
        ),
        source="xie2024adan",
        pinned_by="tests/training/test_adan.py::test_it_follows_the_recursion_on_a_scripted_sequence",
    ),
)
