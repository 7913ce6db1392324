"""What optimisers ask of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepscope.core import UsageError

#: Tensors, or groups ``{"params": tensors, "lr": …}`` with settings of their own, as torch's optimisers take them.
Parameters = Iterable[Tensor] | Iterable[dict[str, Any]]


def checked_parameters(parameters: Parameters, *, where: str) -> list[Any]:
    """Return the parameters or groups as a list.

    Raises
    ------
    UsageError
        There are none, they are no tensors, or none of them is trained.
    """
    if isinstance(parameters, Tensor):
        raise UsageError(
            "the parameters are one tensor, not a list of tensors",
            where=f"parameters of {where}",
            todo="Give model.parameters(), or [tensor].",
        )
    # A group's parameters may be an iterator, which looking at them would use up.
    given: list[Any] = [
        {**item, "params": _listed(item.get("params", ()))} if isinstance(item, dict) else item for item in parameters
    ]
    tensors = tensors_of(given)
    todo = "Give model.parameters() of a model that has weights, or groups {'params': …} of them."
    if not tensors:
        raise UsageError("there are no parameters", where=f"parameters of {where}", todo=todo)
    for each in tensors:
        if not isinstance(each, Tensor):
            raise UsageError(f"a parameter is a {type(each).__name__}", where=f"parameters of {where}", todo=todo)
    if not any(each.requires_grad for each in tensors):
        raise UsageError(
            "no parameter has a gradient: requires_grad is False for all of them",
            where=f"parameters of {where}",
            todo="Call requires_grad_() on what is to be trained.",
        )
    return given


def require_real(parameters: list[Any], *, where: str) -> None:
    """Refuse complex parameters, whose square is not that of their size.

    Raises
    ------
    UsageError
        Names the precision of the first.
    """
    for each in tensors_of(parameters):
        if each.is_complex():
            kind = str(each.dtype).removeprefix("torch.")
            todo = "Give real ones: torch.view_as_real(parameter) has both parts."
            raise UsageError(f"a parameter is {kind}", where=f"parameters of {where}", todo=todo)


def require_settings(given: list[Any], settings: dict[str, Any], check: Callable[[Mapping[str, Any]], None]) -> None:
    """Check the settings of all parameters, and those of each group, which take their place there."""
    check(settings)
    for item in given:
        if isinstance(item, dict):
            check({**settings, **item})


def tensors_of(parameters: list[Any]) -> list[Any]:
    """Return what the parameters or groups hold, one after the other."""
    return [each for item in parameters for each in (item["params"] if isinstance(item, dict) else [item])]


def require(holds: bool, name: str, value: object, allowed: str, *, where: str) -> None:
    """Refuse an argument that is out of range.

    Raises
    ------
    UsageError
        Names the argument, its value and what is allowed.
    """
    if not holds:
        raise UsageError(f"{name} is {value}", where=where, todo=f"Give {name} {allowed}.")


def require_rate(name: str, value: float | Tensor, *, where: str) -> None:
    """Refuse what is no finite number from 0 on."""
    require(math.isfinite(float(value)) and float(value) >= 0, name, value, "0 or more, and finite", where=where)


def require_betas(betas: Sequence[float], count: int, *, where: str) -> None:
    """Refuse betas that are not ``count`` numbers from 0 up to, and without, 1."""
    todo = f"as {count} numbers, each from 0 to below 1"
    numbers = isinstance(betas, Sequence) and all(isinstance(beta, (int, float)) for beta in betas)
    require(numbers and len(betas) == count and all(0 <= beta < 1 for beta in betas), "betas", betas, todo, where=where)


def require_gradients(optimizer: torch.optim.Optimizer, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Refuse a step without gradients that it can use; a hook that runs before ``optimizer.step``.

    Raises
    ------
    UsageError
        No parameter has a gradient, and no closure is there to compute it; or one has a sparse gradient.
    """
    closure = named.get("closure", arguments[1] if len(arguments) > 1 else None)
    found = with_gradient(optimizer)
    where = f"{type(optimizer).__name__}.step"
    if closure is None and not found:
        raise UsageError("no parameter has a gradient", where=where, todo="Call loss.backward() before the step.")
    if any(each.grad is not None and each.grad.is_sparse for each in found):
        raise UsageError("a gradient is sparse", where=where, todo="Make embeddings with sparse=False.")


def with_gradient(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters that have a gradient."""
    return [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]


def _listed(members: Any) -> list[Any]:
    return [members] if isinstance(members, Tensor) else list(members)
