"""Gradients and memory of the adjoint method, beside forward sensitivities and the gradient of the solver's steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepscope.core import Case, MeasurementError, TrialRun, derive_seed
from deepscope.models import ODEBlock
from deepscope.studies.differential_equations._ode_fields import equation
from deepscope.studies.differential_equations._sensitivities import sensitivities

#: Tolerances, relative and absolute, of the solution and of the adjoint equation.
TOLERANCES = tuple(10.0**-power for power in range(3, 9))
#: Steps at which a solution is given up; forwards the Lorenz equation takes 200.
MOST_STEPS = 1000


def gradients(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how far the adjoint method's gradient of ½|z(T) − z*|² is from that of forward sensitivities.

    It is the gradient by all parameters and by the start; z* is z(T) and a vector from N(0, 1).

    Returns
    -------
    dict
        ``at_tolerances``; ``adjoint`` and ``through_steps``: relative errors at each, of the adjoint method and of the
        gradient through the solver's steps; ``cosine``: of the adjoint method's gradient and the reference, at the
        loosest tolerance; ``error``: the adjoint method's at the tightest.
    """
    field, start, whole = equation(case.equation, run.seed)
    end = whole * case.part
    last, derivatives = sensitivities(field, start, end)
    target = last + _normal(run.seed, len(last))
    reference = (last - target) @ derivatives
    tolerances = TOLERANCES[-case.n_tolerances :]
    errors: dict[bool, list[float]] = {True: [], False: []}
    cosines = []
    for tolerance in tolerances:
        for adjoint, found in errors.items():
            value = gradient(field, start, target, (0.0, end), tolerance, adjoint=adjoint)
            found.append(((value - reference).norm() / reference.norm()).item())
            if adjoint:
                cosines.append(cosine(value, reference))
    return {
        "at_tolerances": list(tolerances),
        "adjoint": errors[True],
        "through_steps": errors[False],
        "cosine": cosines[0],
        "error": errors[True][-1],
    }


def chaos(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return cosines of the adjoint method's gradient and the reference, for the Lorenz equation at 10⁻⁸.

    Returns
    -------
    dict
        ``integrated``: where the state is integrated backwards beside the adjoint, as the method has it; 0 where that
        does not arrive in ``MOST_STEPS``. ``stored``: where it is handed the stored state at ``case.places`` places.
    """
    field, start, whole = equation("lorenz", run.seed)
    end = whole * case.part
    last, derivatives = sensitivities(field, start, end)
    target = last + _normal(run.seed, len(last))
    reference = (last - target) @ derivatives
    found = {}
    for name, pieces in (("integrated", 1), ("stored", case.places)):
        times = tuple(torch.linspace(0, end, pieces + 1, dtype=torch.float64).tolist())
        try:
            value = gradient(field, start, target, times, TOLERANCES[-1], adjoint=True)
        # Backwards torchdiffeq's own assertion comes through.
        except (AssertionError, MeasurementError) as error:
            run.log(f"{name}: {error}")
            found[name] = 0.0
        else:
            found[name] = cosine(value, reference)
    return found


def gradient(
    field: nn.Module, start: Tensor, target: Tensor, times: tuple[float, ...], tolerance: float, *, adjoint: bool
) -> Tensor:
    """Return the gradient of ½|z(T) − z*|² by all parameters and the start, in one vector.

    Between the times the adjoint method integrates the state backwards; at each it takes the one that was stored.
    """
    block = ODEBlock(field, times=times, rtol=tolerance, atol=tolerance, adjoint=adjoint, max_steps=MOST_STEPS)
    first = start.clone().requires_grad_()
    loss = 0.5 * (block.trajectory(first)[0, -1] - target).square().sum()
    return torch.cat([each.ravel() for each in torch.autograd.grad(loss, [*field.parameters(), first])])


def cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine between two vectors."""
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def memory(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what is kept for the backward pass of 16, 32, 64 … steps of Runge and Kutta's method.

    Returns
    -------
    dict
        ``at_steps``; ``adjoint_bytes`` and ``through_bytes``: of the adjoint method, and through the solver's steps.
    """
    field, start, _ = equation("perceptron", run.seed)
    steps = [2**power for power in range(4, 4 + case.doublings + 1)]
    numbers: dict[str, Any] = {"at_steps": steps}
    for name, adjoint in (("adjoint_bytes", True), ("through_bytes", False)):
        blocks = [ODEBlock(field, method="rk4", step=1 / count, adjoint=adjoint) for count in steps]
        numbers[name] = [kept_bytes(block, start) for block in blocks]
    return numbers


def kept_bytes(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Return the bytes of the tensors that a function keeps for its backward pass, each as often as it is kept."""
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(x)
    return total


def _normal(seed: int, features: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "target"))
    return torch.randn(features, generator=generator, dtype=torch.float64)
