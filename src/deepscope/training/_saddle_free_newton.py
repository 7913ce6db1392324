"""Saddle-free Newton: curvature by its absolute value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from deepscope.core import MeasurementError, Specimen, UsageError
from deepscope.training._optimizer_arguments import (
    Parameters,
    checked_parameters,
    require,
    require_rate,
    require_settings,
    tensors_of,
)


@final
class SaddleFreeNewton(torch.optim.Optimizer):
    """Newton's method with |H| for H: a saddle repels it, where Newton's own step is drawn in.

    With gradient g and Hessian H = Σ λᵢvᵢvᵢᵀ of the loss at θ::

        θ ← θ − η (|H| + δI)⁻¹ g,        |H| = Σ |λᵢ| vᵢvᵢᵀ

    On a quadratic and for δ → 0, the component along vᵢ goes with (1 − η)ᵗ where λᵢ > 0 and with (1 + η)ᵗ where
    λᵢ < 0, whatever its size. |H| is taken in the Krylov space span(g, Hg, …, Hᵏ⁻¹g), in which g lies, by Lanczos'
    method; it is exact once the space is invariant, so for k of the number of parameters. Of several δ that with the
    lowest loss after the step is taken. Source: ``dauphin2014identifying``.

    At a stationary point g is 0, and nothing moves.

    Parameters
    ----------
    parameters
        As torch's optimisers take them, in one group.
    lr
        η.
    rank
        k, the largest dimension of the Krylov space.
    dampings
        δ to choose from; with one, nothing more is evaluated.
    closure
        Called by ``step`` where it is given none: returns the loss with its graph, without ``backward``. For ``fit``
        take it from ``with_closure(…, backward=False)``.

    Raises
    ------
    UsageError
        An argument is out of range, there are no parameters, none of them is trained, one is neither float32 nor
        float64, there are several groups, or ``step`` finds no closure, or one whose loss does not depend on the
        parameters.
    MeasurementError
        The loss, its gradient or its curvature is not finite.

    Notes
    -----
    Costs a gradient, k products with H (each about two gradients), an evaluation of the loss for each of several δ, and
    k numbers of memory per parameter. A copy by ``copy.deepcopy`` or ``pickle`` has no closure.

    Examples
    --------
    One step near the saddle of (x² − y²)/2 finds the valley's floor and doubles the distance along it:

    >>> point = torch.nn.Parameter(torch.tensor([3.0, 1e-3]))
    >>> optimizer = SaddleFreeNewton([point], dampings=[1e-6])
    >>> _ = optimizer.step(lambda: (point[0] ** 2 - point[1] ** 2) / 2)
    >>> [round(each, 5) for each in point.tolist()]
    [0.0, 0.002]
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1.0,
        *,
        rank: int = 50,
        dampings: Sequence[float] = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
        closure: Callable[[], Tensor] | None = None,
    ) -> None:
        given, where = checked_parameters(parameters, where="SaddleFreeNewton"), "SaddleFreeNewton"
        for each in tensors_of(given):
            exact = each.dtype in (torch.float32, torch.float64)
            require(exact, "a parameter", each.dtype, "as float32 or float64", where=f"parameters of {where}")
        settings = {"lr": lr, "rank": rank, "dampings": tuple(dampings)}
        require_settings(given, settings, _check)
        super().__init__(given, settings)
        require(len(self.param_groups) == 1, "the number of groups", len(self.param_groups), "as 1", where=where)
        self._closure = closure

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Update the parameters; return the loss before. They are as they were where the closure raises."""
        closure = closure or self._closure
        if closure is None:
            raise UsageError(
                "there is no closure to compute the curvature",
                where="SaddleFreeNewton.step",
                todo="Give step(closure), or SaddleFreeNewton(…, closure=…) from with_closure(…, backward=False).",
            )
        (group,) = self.param_groups
        parameters = [each for each in group["params"] if each.requires_grad]
        value, gradient, product = _derivatives(closure, parameters)
        size = torch.linalg.vector_norm(gradient)
        if size == 0:
            return value
        basis, projected = _krylov(product, gradient / size, min(group["rank"], len(gradient)))
        values, vectors = torch.linalg.eigh(projected)
        steps = [
            group["lr"] * size * (vectors @ (vectors[0] / (values.abs() + damping))) @ basis
            for damping in group["dampings"]
        ]
        before = [each.clone() for each in parameters]
        if len(steps) == 1:
            _move(parameters, before, steps[0])
            return value
        losses = []
        try:
            for step in steps:
                _move(parameters, before, step)
                losses.append(float(closure()))
        finally:
            _move(parameters, before, torch.zeros_like(gradient))
        finite = [index for index, loss in enumerate(losses) if math.isfinite(loss)]
        if not finite:
            raise MeasurementError(
                "the loss is not finite after the step, whatever the damping",
                where="SaddleFreeNewton",
                todo="Give a smaller lr or larger dampings.",
            )
        _move(parameters, before, steps[min(finite, key=losses.__getitem__)])
        return value

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: not the closure, which evaluates the network that this one trains."""
        return {**super().__getstate__(), "_closure": None}


def _check(settings: Mapping[str, Any]) -> None:
    where, dampings = "SaddleFreeNewton", settings["dampings"]
    require_rate("lr", settings["lr"], where=where)
    require(settings["rank"] >= 1, "rank", settings["rank"], "at least 1", where=where)
    positive = len(dampings) > 0 and all(0 < each < math.inf for each in dampings)
    require(positive, "dampings", tuple(dampings), "as one or more finite numbers above 0", where=where)


def _derivatives(
    closure: Callable[[], Tensor], parameters: list[Tensor]
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """Return the loss, its gradient as one vector, and products of its Hessian with vectors."""
    with torch.enable_grad():
        value = closure()
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
            raise UsageError(
                "the closure returns no scalar that depends on the parameters",
                where="closure of SaddleFreeNewton",
                todo="Return the loss itself, not loss.item(), and without torch.no_grad().",
            )
        gradient = _gradient(value, parameters, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        if not gradient.requires_grad:
            return torch.zeros_like(vector)
        with torch.enable_grad():
            return _gradient(gradient @ vector, parameters, retain_graph=True)

    _require_finite(value, "the loss")
    _require_finite(gradient, "the gradient")
    return value.detach(), gradient.detach(), product


def _gradient(value: Tensor, parameters: list[Tensor], **how: Any) -> Tensor:
    parts = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True, **how)
    return torch.cat([part.reshape(-1) for part in parts])


def _krylov(product: Callable[[Tensor], Tensor], start: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis of the Krylov space, one vector a row, and the operator in it."""
    basis, projected = start.unsqueeze(0), start.new_zeros(rank, rank)
    for index in range(rank):
        image = product(basis[index])
        _require_finite(image, "the curvature")
        rest = image
        # Once is not enough: what rounding leaves of the basis grows from step to step.
        for _ in range(2):
            rest = rest - (basis @ rest) @ basis
        projected[index, index] = image @ basis[index]
        length = torch.linalg.vector_norm(rest)
        if len(basis) == rank or length <= 10 * torch.finfo(rest.dtype).eps * torch.linalg.vector_norm(image):
            break
        projected[index, index + 1] = projected[index + 1, index] = length
        basis = torch.cat([basis, (rest / length).unsqueeze(0)])
    return basis, projected[: len(basis), : len(basis)]


def _move(parameters: list[Tensor], before: list[Tensor], step: Tensor) -> None:
    parts = torch.split(step, [each.numel() for each in parameters])
    for parameter, old, part in zip(parameters, before, parts, strict=True):
        parameter.copy_(old - part.reshape(old.shape))


def _require_finite(value: Tensor, what: str) -> None:
    if not value.isfinite().all():
        raise MeasurementError(
            f"{what} is not finite", where="SaddleFreeNewton", todo="Start nearer to a minimum, or look at the inputs."
        )


SPECIMENS = (
    Specimen(
        name="saddle-free-newton",
        title="Newton's method with the Hessian's absolute value",
        build=SaddleFreeNewton,
        formula=(
            "θ ← θ − η(|H| + δI)⁻¹g, |H| = Σ|λᵢ|vᵢvᵢᵀ from the Hessian's eigenpairs in the Krylov space of the "
            "gradient g, δ by the lowest loss."
        ),
        source="dauphin2014identifying",
        pinned_by="tests/training/test_saddle_free_newton.py::test_a_saddle_is_left_at_the_rate_of_the_closed_form",
    ),
)
