"""A layer that solves an ordinary differential equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import MeasurementError, UsageError, nearest

#: Solvers that choose their steps, and those that take the steps they are given.
_ADAPTIVE = ("adaptive_heun", "bosh3", "dopri5", "dopri8", "fehlberg2")
_FIXED = ("euler", "explicit_adams", "heun2", "heun3", "implicit_adams", "midpoint", "rk4")


class ODEBlock(nn.Module):
    """Layer of continuous depth: x ↦ z(t₁) with dz/dt = f(t, z) and z(t₀) = x.

    Maps [batch, …] to as many numbers, in the input's dtype. It has the parameters of its field f and costs
    ``evaluations`` calls of it. As solutions of one equation do not cross, it is a homeomorphism: with one number per
    sample it keeps their order. With ``augment`` = p zeros appended to dimension 1, features or channels, it
    is not bound by that (``dupont2019augmented``), and returns p more features than it gets.

    A residual network x ← x + h f(t, x) is its solution by steps of Euler's method. Solvers and the adjoint are those
    of ``torchdiffeq``. An adaptive solver chooses its steps for the whole batch, so that samples agree with what they
    give alone to within the tolerances and no better: what measures single samples needs a solver of fixed steps.
    Source: ``chen2018neural``.

    Parameters
    ----------
    field
        f, called as ``field(t, z)`` with a scalar tensor and [batch, …]; returns as many numbers.
    times
        t₀ < … < t₁, at least two; ``trajectory`` returns the solution at each.
    method
        A solver of torchdiffeq: ``"dopri5"``, ``"dopri8"``, ``"bosh3"``, ``"fehlberg2"`` and ``"adaptive_heun"`` choose
        their steps, ``"euler"``, ``"midpoint"``, ``"heun2"``, ``"heun3"``, ``"rk4"``, ``"explicit_adams"`` and
        ``"implicit_adams"`` do not.
    rtol, atol
        Relative and absolute tolerance of the local error of a solver that chooses its steps.
    step
        Length of the steps of one that does not; from one of the times to the next unless given.
    adjoint
        Whether the gradient comes from solving the adjoint equation da/dt = −(∂f/∂z)ᵀ a backwards beside the solution,
        for which memory does not grow with the number of steps; the gradient is then that of the equation, and
        agrees with that of the solver's steps, which is taken otherwise, to within the tolerances. It has no second
        derivatives.
    augment
        p.
    max_steps
        Steps between two times after which an adaptive solver gives up.

    Attributes
    ----------
    evaluations
        How often the last call evaluated the field.
    backward_evaluations
        How often the adjoint equation of the last call has evaluated it since.

    Raises
    ------
    UsageError
        Times that are not finite or do not increase, a tolerance or a step that is not above 0, an unknown solver, a
        negative ``augment``, a step for an adaptive solver; when called: an input that is not [batch, …] of
        floating-point numbers, or a field that changes the shape; a second derivative through the adjoint.
    MeasurementError
        When called: an adaptive solver does not arrive, because the solution explodes, is not smooth or not finite.

    Examples
    --------
    >>> class Decay(nn.Module):
    ...     def forward(self, t, z):
    ...         return -z
    >>> block = ODEBlock(Decay())
    >>> block(torch.tensor([[1.0]])), block.evaluations
    (tensor([[0.3679]]), 26)
    """

    def __init__(
        self,
        field: nn.Module,
        *,
        times: Sequence[float] = (0.0, 1.0),
        method: str = "dopri5",
        rtol: float = 1e-5,
        atol: float = 1e-6,
        step: float | None = None,
        adjoint: bool = False,
        augment: int = 0,
        max_steps: int = 10_000,
    ) -> None:
        super().__init__()
        self.field = field
        self.times = _increasing(times)
        self.method, self.rtol, self.atol, self.step = method, rtol, atol, step
        self.adjoint, self.augment, self.max_steps = adjoint, augment, max_steps
        self.evaluations = self._calls = 0
        for name, value in (("rtol", rtol), ("atol", atol), ("step", step), ("max_steps", max_steps)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}", where="ODEBlock", todo="Give a finite number above 0.")
        if method not in _ADAPTIVE + _FIXED:
            raise UsageError("unknown solver", where=method, todo=nearest(method, _ADAPTIVE + _FIXED))
        if step is not None and method in _ADAPTIVE:
            raise UsageError(
                f"{method} chooses its steps, and step is {step}",
                where="ODEBlock",
                todo="Give tolerances in its place, or a solver of fixed steps.",
            )
        if augment < 0:
            raise UsageError(f"augment is {augment}", where="ODEBlock", todo="Give a whole number of at least 0.")

    @property
    def backward_evaluations(self) -> int:
        """How often the adjoint equation of the last call has evaluated the field."""
        return self._calls - self.evaluations

    def forward(self, x: Tensor) -> Tensor:
        """Return z(t₁), [batch, …]."""
        return self._solve(x, (self.times[0], *self.times[-1:]) if self.method in _ADAPTIVE else self.times)[-1]

    def trajectory(self, x: Tensor) -> Tensor:
        """Return the solution at all times, [batch, times, …]; at the first it is the input."""
        return self._solve(x, self.times).movedim(0, 1)

    def _solve(self, x: Tensor, times: Sequence[float]) -> Tensor:
        # It loads SciPy's solvers, nearly a second for all who import a model.
        import torchdiffeq

        if x.ndim < 2 or not x.is_floating_point():
            raise UsageError(
                f"the input is {list(x.shape)} of {str(x.dtype).removeprefix('torch.')}",
                where="ODEBlock",
                todo="Give [batch, features, …] of floating-point numbers.",
            )
        start = functional.pad(x, [0, 0] * (x.ndim - 2) + [0, self.augment])
        t = torch.tensor(times, dtype=x.dtype, device=x.device)
        options: dict[str, Any] = {}
        if self.method in _ADAPTIVE:
            # A step ends at each of the times: values that are interpolated inside of steps are of a lower order.
            options = {"max_num_steps": self.max_steps, "step_t": t}
        elif self.step is not None:
            options = {"step_size": self.step}
        given = {"rtol": self.rtol, "atol": self.atol, "method": self.method, "options": options}
        field = self._counted()
        with _explained():
            if self.adjoint:
                parameters = tuple(self.field.parameters())
                solution: Tensor = torchdiffeq.odeint_adjoint(field, start, t, adjoint_params=parameters, **given)
            else:
                solution = torchdiffeq.odeint(field, start, t, **given)
        self.evaluations = self._calls
        if self.adjoint and solution.requires_grad:
            solution.register_hook(_first_order_only)  # type: ignore[no-untyped-call]
        return solution

    def _counted(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the field, which counts its calls from zero on and whose shape is checked."""
        self._calls = 0

        def call(t: Tensor, z: Tensor) -> Tensor:
            self._calls += 1
            slope: Tensor = self.field(t, z)
            if slope.shape != z.shape:
                raise UsageError(
                    f"the field maps {list(z.shape)} to {list(slope.shape)}",
                    where="ODEBlock",
                    todo="Give a field that returns as many numbers as it gets, those of augment included.",
                )
            return slope

        return call

    def extra_repr(self) -> str:
        """Return the solver and the times."""
        return f"method={self.method!r}, times={self.times}, adjoint={self.adjoint}, augment={self.augment}"


def _increasing(times: Sequence[float]) -> tuple[float, ...]:
    if len(times) < 2 or not all(a < b for a, b in pairwise(times)) or not all(map(math.isfinite, times)):
        raise UsageError(
            f"the times are {list(times)}", where="ODEBlock", todo="Give two or more finite times that increase."
        )
    return tuple(times)


@contextmanager
def _explained() -> Iterator[None]:
    """Say of a solver that gives up, which torchdiffeq tells by a failed assertion, what to do."""
    try:
        yield
    except AssertionError as error:
        raise MeasurementError(
            f"the solver did not arrive: {str(error).splitlines()[0][:100]}",
            where="ODEBlock",
            todo="Look at the field and the input (they may be too large or not finite), or loosen rtol and atol.",
        ) from error


def _first_order_only(gradient: Tensor) -> None:
    # The adjoint's result has no graph: without this a second derivative would lack what went through it, in silence.
    if torch.is_grad_enabled():
        raise UsageError(
            "second derivatives do not go through the adjoint equation", where="ODEBlock", todo="Set adjoint=False."
        )
