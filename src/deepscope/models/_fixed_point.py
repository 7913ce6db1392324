"""Fixed points by Anderson acceleration, and their implicit derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from deepscope.core import MeasurementError, UsageError
from deepscope.models._partial_derivatives import any_dual, casts_of, cut, uncast

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FixedPoint:
    """How a search for a fixed point ended.

    Attributes
    ----------
    residual
        The largest |f(z) − z| / |f(z)| of all samples, but for those that are not finite.
    steps
        How often f was evaluated.
    converged
        Whether the residual is at most the tolerance.
    """

    residual: float
    steps: int
    converged: bool


@dataclass(frozen=True, kw_only=True)
class Anderson:
    """Anderson acceleration of z ← f(z): the next z is the mix of the last ones whose residual would be least.

    With g = f(z) − z, and ΔZ and ΔG the last m differences of z and of g,

        z ← z + β g − (ΔZ + β ΔG) γ,    γ = argmin |g − ΔG γ|.

    On a linear problem it is GMRES in essence; with m = 0 it is damped iteration. Each sample, an element of the first
    dimension, is solved of its own and left alone once it has converged, so that it does not depend on the others; one
    that is not finite is given up and stays so. Costs one f and 4 m n operations a step and sample of n numbers, and
    memory for 2 m of z. Source: ``walker2011anderson``.

    Parameters
    ----------
    tolerance
        Of |f(z) − z| / |f(z)|, for each sample.
    max_steps
        Evaluations of f after which it gives up.
    memory
        m.
    damping
        β, in (0, 1].
    strict
        Whether giving up is an error; otherwise it is told by the ``FixedPoint`` alone.

    Raises
    ------
    UsageError
        A tolerance that is not above 0, fewer than one step, a negative memory, a damping that is not in (0, 1].

    Examples
    --------
    >>> z, found = Anderson(tolerance=1e-6)(torch.cos, torch.zeros(2, 1))
    >>> z, found.converged
    (tensor([[0.7391],
            [0.7391]]), True)
    """

    tolerance: float = 1e-4
    max_steps: int = 50
    memory: int = 5
    damping: float = 1.0
    strict: bool = True

    def __post_init__(self) -> None:
        for name, value, fits, wanted in (
            ("tolerance", self.tolerance, self.tolerance > 0, "a number above 0"),
            ("max_steps", self.max_steps, self.max_steps >= 1, "a whole number of at least 1"),
            ("memory", self.memory, self.memory >= 0, "a whole number of at least 0"),
            ("damping", self.damping, 0 < self.damping <= 1, "a number above 0 and at most 1"),
        ):
            if not fits:
                raise UsageError(f"{name} is {value}", where="Anderson", todo=f"Give {wanted}.")

    @torch.no_grad()
    def __call__(self, f: Map, start: Tensor) -> tuple[Tensor, FixedPoint]:
        """Return a fixed point of f, found from ``start``, [batch, …], and how the search ended.

        Raises
        ------
        UsageError
            f changes the shape.
        MeasurementError
            It gives up, where it is strict.
        """
        z, step = start, 0
        open_ = torch.ones(len(z), dtype=torch.bool, device=z.device)
        residual = torch.zeros(len(z), dtype=z.dtype, device=z.device)
        points: list[Tensor] = []
        gaps: list[Tensor] = []
        while step < self.max_steps:
            step += 1
            value = f(z)
            if value.shape != z.shape:
                raise UsageError(
                    f"f maps {list(z.shape)} to {list(value.shape)}",
                    where="Anderson",
                    todo="Give a map that returns as many numbers as it gets.",
                )
            gap = (value - z).flatten(1)
            size = value.flatten(1).norm(dim=1).clamp_min(torch.finfo(z.dtype).tiny)
            residual = torch.where(open_, gap.norm(dim=1) / size, residual)
            # What is not a number is not to hide behind the last z that was one.
            z = torch.where(_each(residual.isnan(), z), value, z)
            open_ = open_ & (residual > self.tolerance)
            if not bool(open_.any()):
                break
            points, gaps = [*points, z.flatten(1)][-self.memory - 1 :], [*gaps, gap][-self.memory - 1 :]
            with uncast(z):
                correction = self._correction(points, gaps)
            following = (points[-1] + self.damping * gap - correction).view_as(z)
            z = torch.where(_each(open_, z), following, z)
        finite = residual[residual.isfinite()]
        worst = float(finite.max()) if len(finite) else 0.0
        found = FixedPoint(worst, step, not bool(open_.any()))
        if self.strict and not found.converged:
            raise MeasurementError(
                f"no fixed point after {step} steps: the residual is {worst:.2g}, above {self.tolerance:.2g}",
                where="Anderson",
                todo="Raise max_steps or tolerance, let the map contract more, or take what is found: strict=False.",
            )
        return z, found

    def _correction(self, points: list[Tensor], gaps: list[Tensor]) -> Tensor:
        """Return (ΔZ + β ΔG) γ, [batch, n]."""
        if len(points) < 2:
            return torch.zeros_like(points[-1])
        # No system of equations is solved in less than single precision.
        wide = torch.promote_types(points[-1].dtype, torch.float32)
        moved, changed = (torch.stack([b - a for a, b in pairwise(each)], 1).to(wide) for each in (points, gaps))
        gram = changed @ changed.mT
        limits = torch.finfo(gram.dtype)
        # Without it the Gram matrix is singular once differences are parallel, or zero.
        ridge = 10 * limits.eps * gram.diagonal(dim1=1, dim2=2).sum(1) + limits.tiny
        gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1]).to(gram)
        mix: Tensor = torch.linalg.solve_ex(gram, changed @ gaps[-1][:, :, None].to(wide)).result
        return ((moved + self.damping * changed).mT @ mix)[:, :, 0].to(points[-1].dtype)


def _each(samples: Tensor, z: Tensor) -> Tensor:
    return samples.view(-1, *[1] * (z.ndim - 1))


def implicit_fixed_point(
    f: Callable[..., Tensor],
    start: Tensor,
    tensors: tuple[Tensor, ...],
    solver: Anderson,
    told: Callable[[str, FixedPoint], None],
) -> Tensor:
    """Return z = f(z, *tensors) with its derivatives, for which nothing but z and the tensors is kept.

    From dz = (I − ∂f/∂z)⁻¹ (∂f/∂θ) dθ the gradient g of a loss with respect to z gives u = g + (∂f/∂z)ᵀ u, another
    fixed point, and with it (∂f/∂θ)ᵀ u. It can be differentiated again, and in forward mode.

    Parameters
    ----------
    f
        Maps z and the tensors to the next z; whatever is to be differentiated is among the tensors.
    start
        Where the search begins.
    tensors
        The other arguments of f.
    solver
        Finds both fixed points.
    told
        Gets ``"forward"`` or ``"backward"``, and how the search ended.
    """
    primals = [forward_ad.unpack_dual(each).primal for each in tensors]  # type: ignore[no-untyped-call]
    z: Tensor = _Implicit.apply(f, start, solver, told, *primals)  # type: ignore[no-untyped-call]
    if any_dual(tensors):
        z = forward_ad.make_dual(z, _tangent(f, z.detach(), tensors, solver))  # type: ignore[no-untyped-call]
    return z


def _tangent(f: Callable[..., Tensor], z: Tensor, tensors: tuple[Tensor, ...], solver: Anderson) -> Tensor:
    """Return the v = (∂f/∂z) v + (∂f/∂θ) θ̇ of forward-mode differentiation, with the tangents θ̇ of the tensors."""

    def along(v: Tensor) -> Tensor:
        value = f(forward_ad.make_dual(z, v), *tensors)  # type: ignore[no-untyped-call]
        tangent: Tensor = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
        return tangent

    return solver(along, torch.zeros_like(z))[0]


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Any, start: Tensor, solver: Anderson, told: Any, *tensors: Tensor) -> Tensor:
        # Hooks of the layers in f see tensors without a graph, and see that they have none.
        given = [each.detach() for each in tensors]
        z, found = solver(lambda each: f(each, *given), start.detach())
        told("forward", found)
        ctx.f, ctx.solver, ctx.told, ctx.casts = f, solver, told, casts_of(z)
        # A solution that is the start itself would not be the output of this operation.
        z = z.view_as(z)
        ctx.save_for_backward(z, *tensors)
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        again, (gradient,), (z, *tensors) = torch.is_grad_enabled(), gradients, ctx.saved_tensors
        trained = [index for index, each in enumerate(tensors) if each.requires_grad]
        with ctx.casts, torch.enable_grad():
            given = [cut(each, again) for each in tensors]
            point = cut(z, again)
            value = ctx.f(point, *given)

        def told(_: str, found: FixedPoint) -> None:
            ctx.told("backward", found)

        if again:
            arguments = (gradient, z, *tensors)
            with ctx.casts:
                u = implicit_fixed_point(_adjoint_of(ctx.f), gradient.detach(), arguments, ctx.solver, told)
        else:
            u, found = ctx.solver(
                lambda each: torch.autograd.grad(value, point, each, retain_graph=True)[0] + gradient, gradient
            )
            told("backward", found)
        pulled = torch.autograd.grad(
            value, [given[index] for index in trained], u, create_graph=again, allow_unused=True
        )
        by_index = dict(zip(trained, pulled, strict=True))
        return None, None, None, None, *(by_index.get(index) for index in range(len(tensors)))


def _adjoint_of(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the map (u, g, z, …) ↦ g + (∂f/∂z)ᵀ u, which can be differentiated in all of them."""

    def adjoint(u: Tensor, gradient: Tensor, z: Tensor, *tensors: Tensor) -> Tensor:
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            point = cut(z, again)
            value = f(point, *(cut(each, again) for each in tensors))
            (pulled,) = torch.autograd.grad(value, point, u, create_graph=again)
        return pulled + gradient

    return adjoint
