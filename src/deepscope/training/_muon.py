"""Muon: momentum, orthogonalised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deepscope.core import Specimen, UsageError
from deepscope.training._optimizer_arguments import (
    Parameters,
    checked_parameters,
    require,
    require_gradients,
    require_rate,
    require_real,
    require_settings,
    tensors_of,
)


def muon(
    parameters: Parameters,
    lr: float = 0.02,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    iterations: int = 5,
) -> torch.optim.Optimizer:
    """Return Muon, which steps along the momentum's nearest semi-orthogonal matrix: all directions alike.

    For a weight of shape [A, B] with gradient G and momentum M, which is 0 at first::

        M ← μM + (1 − μ)G        U = μM + (1 − μ)G, or M without Nesterov
        W ← (1 − ηλ)W − η √max(1, A/B) · NS(U)

    NS starts from X = U/max(‖U‖_F, 1e-7) and repeats X ← aX + bXXᵀX + c(XXᵀ)²X: each singular value s of X becomes
    as + bs³ + cs⁵, its singular vectors stay. With the paper's (a, b, c), chosen for their speed, five rounds bring
    every s from 0.01 to 1 into [0.68, 1.14], not to 1; (1.5, −0.5, 0) converge to it. Source: ``jordan2024muon``. It is
    torch's, which computes NS in bfloat16 as the authors do.

    Parameters
    ----------
    parameters
        Matrices: the weights of hidden linear layers. Biases, gains, embeddings and the output go to another optimiser.
    lr
        η.
    momentum, nesterov
        μ, and whether the step looks ahead.
    weight_decay
        λ, decoupled.
    coefficients, iterations
        (a, b, c), and the number of rounds of NS.

    Raises
    ------
    UsageError
        An argument is out of range, there are no parameters, none of them is trained, one is no matrix or complex,
        ``step`` finds no gradient, or torch is older than 2.9.

    Notes
    -----
    Costs one number of memory per parameter, and a step 2·(2A²B + A³)·iterations operations for A ≤ B.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = muon([weight], lr=1.0, coefficients=(1.5, -0.5, 0.0), iterations=20)
    >>> weight.grad = torch.tensor([[0.0, 5.0], [-0.5, 0.0]])
    >>> optimizer.step()
    >>> weight.detach().round(decimals=1)
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    if not hasattr(torch.optim, "Muon"):
        raise UsageError(f"torch {torch.__version__} has no Muon", where="muon", todo="Install torch 2.9 or later.")
    given = checked_parameters(parameters, where="muon")
    require_real(given, where="muon")
    require_settings(given, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}, _check)
    require(len(coefficients) == 3, "coefficients", coefficients, "as three numbers (a, b, c)", where="muon")
    require(0 <= iterations < 100, "iterations", iterations, "from 0 to 99", where="muon")
    for tensor in tensors_of(given):
        if tensor.ndim != 2:
            raise UsageError(
                f"a parameter of shape {list(tensor.shape)} is no matrix",
                where="parameters of muon",
                todo="Give the two-dimensional weights of hidden layers, and the others to AdamW.",
            )
    optimizer = torch.optim.Muon(
        given,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov,
        ns_coefficients=coefficients,
        ns_steps=iterations,
    )
    optimizer.register_step_pre_hook(require_gradients)
    return optimizer


def _check(settings: Mapping[str, Any]) -> None:
    for name in ("lr", "weight_decay"):
        require_rate(name, settings[name], where="muon")
    require(0 <= settings["momentum"] < 1, "momentum", settings["momentum"], "from 0 to below 1", where="muon")


SPECIMENS = (
    Specimen(
        name="muon",
        title="momentum orthogonalised by Newton–Schulz iterations",
        build=muon,
        formula=(
            "M ← μM + (1 − μ)G; W ← (1 − ηλ)W − η√max(1, A/B)·NS(μM + (1 − μ)G) for a weight [A, B] of gradient G, NS "
            "five rounds of X ← aX + bXXᵀX + c(XXᵀ)²X from U/‖U‖."
        ),
        source="jordan2024muon",
        pinned_by="tests/training/test_muon.py::test_singular_values_come_together_and_singular_vectors_stay",
    ),
)
