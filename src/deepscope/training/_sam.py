"""SAM: sharpness-aware minimisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from deepscope.core import Specimen, UsageError
from deepscope.training._optimizer_arguments import (
    Parameters,
    checked_parameters,
    require_rate,
    require_settings,
    with_gradient,
)


@final
class SAM(torch.optim.Optimizer):
    """Step from w by the gradient at the worst point near it: w + ρ∇L/‖∇L‖.

    With the norm over all parameters, and any optimiser as the base::

        ĝ = ∇L(w + ρ ∇L(w)/‖∇L(w)‖)        w ← base step from w with gradient ĝ

    On L = λw²/2 with gradient descent, w oscillates at the end between ±ηλρ/(2 − ηλ): a sharp minimum is left when that
    is outside of its valley. Where the gradient is 0, ĝ is it. Source: ``foret2021sharpness``.

    The gradient at w must be there when ``step`` is called, as by ``fit``; the closure computes the one at the worst
    point. ``fit`` gives no closure: take it from ``with_closure``. A ``GradientClipping`` of ``fit`` acts on the
    gradient at w, of which only the direction matters, not on ĝ.

    Parameters
    ----------
    parameters
        As torch's optimisers take them; a group may have its own ``rho``.
    base
        Class of the optimiser that makes the step: ``torch.optim.SGD``.
    rho
        ρ.
    closure
        Called by ``step`` where it is given none: clears the gradients, computes them, and returns the loss.
    settings
        Of the base: ``lr=0.1, momentum=0.9``.

    Raises
    ------
    UsageError
        An argument is out of range, the base is no optimiser or refuses its settings, there are no parameters, none of
        them is trained, or ``step`` finds no closure, no gradient or a sparse one.

    Notes
    -----
    Costs a second forward and backward pass per step, and one number of memory per parameter during it, beside the
    base's own. pytorch_optimizer's has the same step, with the norm in float32. A copy by ``copy.deepcopy`` or
    ``pickle`` has no closure.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = SAM([weight], torch.optim.SGD, rho=0.5, lr=0.1)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (weight**2 / 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = closure()
    >>> _ = optimizer.step(closure)
    >>> round(weight.item(), 3)
    0.85
    """

    def __init__(
        self,
        parameters: Parameters,
        base: type[torch.optim.Optimizer],
        *,
        rho: float = 0.05,
        closure: Callable[[], Any] | None = None,
        **settings: Any,
    ) -> None:
        given = checked_parameters(parameters, where="SAM")
        require_settings(given, {"rho": rho}, lambda settings: require_rate("rho", settings["rho"], where="SAM"))
        if not (isinstance(base, type) and issubclass(base, torch.optim.Optimizer)):
            raise UsageError("the base is no class of optimisers", where="base of SAM", todo="Give torch.optim.SGD.")
        own = {"rho": rho, "base": base.__name__}
        super().__init__(given, own)
        try:
            self._base = base(self.param_groups, **settings)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{base.__name__} refuses its settings ({error})",
                where="settings of SAM",
                todo=f"Give what torch's {base.__name__} takes.",
            ) from error
        self._closure = closure
        self.defaults = {**self._base.defaults, **own}
        self.param_groups, self.state = self._base.param_groups, self._base.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters, whose gradients at w are there; return the closure's value at the worst point.

        The weights are again w where the closure raises.
        """
        closure = closure or self._closure
        if closure is None:
            raise UsageError(
                "there is no closure to compute the gradient at the worst point",
                where="SAM.step",
                todo="Give step(closure), or SAM(…, closure=…) with the closure that with_closure returns.",
            )
        moved = with_gradient(self)
        if not moved:
            raise UsageError(
                "no parameter has a gradient", where="SAM.step", todo="Call loss.backward() before the step."
            )
        if any(each.grad is not None and each.grad.is_sparse for each in moved):
            raise UsageError("a gradient is sparse", where="SAM.step", todo="Make embeddings with sparse=False.")
        norm = math.hypot(*(_norm(each.grad) for each in moved if each.grad is not None))
        before = [each.detach().clone() for each in moved]
        try:
            for group in self.param_groups if norm > 0 else ():
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.add_(parameter.grad, alpha=group["rho"] / norm)
            with torch.enable_grad():
                value = closure()
        finally:
            for parameter, old in zip(moved, before, strict=True):
                parameter.copy_(old)
        self._base.step()
        return value

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned, the base's state included."""
        super().load_state_dict(state_dict)
        self._base.param_groups, self._base.state = self.param_groups, self.state

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy has: not the closure, which evaluates the network that this one trains."""
        return {**super().__getstate__(), "_base": self._base, "_closure": None}


def _norm(gradient: Tensor) -> float:
    # The square of a gradient of 16 bits may be more than these hold.
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    return float(torch.linalg.vector_norm(gradient, dtype=dtype))


SPECIMENS = (
    Specimen(
        name="sam",
        title="sharpness-aware minimisation",
        build=SAM,
        formula="w ← base step with the gradient ∇L(w + ρ∇L(w)/‖∇L(w)‖); ρ the radius, the norm over all parameters.",
        source="foret2021sharpness",
        pinned_by="tests/training/test_sam.py::test_it_ends_in_the_orbit_of_the_closed_form",
    ),
)
