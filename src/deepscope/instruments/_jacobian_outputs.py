"""Singular values of the Jacobian from a network's inputs to its outputs, and how large they are nearby."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from deepscope.instruments._jacobian_pass import ForwardPass
from deepscope.linalg import leading_singular_values

#: Up to so many rows or columns the Jacobian is written out, unless only the leading singular values are asked for.
MOST_WRITTEN = 256
#: Leading singular values that are computed otherwise.
LEADING = 10
#: Random vectors from which ‖J‖_F is known where J is not written out.
PROBES = 16
#: Products from which a singular value nearby is known; it is a lower bound whatever it is.
_NEARBY_PRODUCTS = 8
#: Steps of a climb, each of a quarter of the radius.
STEPS = 8
#: Forward passes that a climb from one sample takes, its backward passes and those through backward passes included.
CLIMB_PASSES = STEPS * (3 * _NEARBY_PRODUCTS + 8)

Run = Callable[[Tensor | None], ForwardPass]


@dataclass(frozen=True, eq=False)
class OutputSpectrum:
    """The Jacobian of every sample's outputs.

    Attributes
    ----------
    values
        Singular values, descending, [n, k].
    errors
        Bounds on how far they lie below the true ones, [n, k]; 0 where the Jacobian was written out.
    squares, squares_stderr
        ‖J‖_F² and its standard error over random vectors, [n].
    passes
        Backward passes that were made.
    """

    values: Tensor
    errors: Tensor
    squares: Tensor
    squares_stderr: Tensor
    passes: int


def output_spectrum(passed: ForwardPass, top: int | None, generator: torch.Generator) -> OutputSpectrum:
    """Return all singular values where the smaller side is at most 256 and ``top`` is None, else the leading ones."""
    rows, cols = passed.output.size, passed.n_inputs
    least = min(rows, cols)
    if top is None and least <= MOST_WRITTEN:
        J, passes = written_out(passed)
        values = torch.linalg.svdvals(J) if J is not None else torch.zeros(passed.n, least, dtype=torch.float64)
        squares = values.square().sum(1)
        return OutputSpectrum(values, torch.zeros_like(values), squares, torch.zeros_like(squares), passes)
    count = min(top if top is not None else LEADING, least)
    push = passed.pushing(passed.output, passed.sources)
    if push is None:
        zeros = torch.zeros(passed.n, count, dtype=torch.float64)
        return OutputSpectrum(zeros, zeros, zeros[:, 0], zeros[:, 0], 1)
    pull = partial(_pulled, passed)
    found = leading_singular_values(
        push,
        pull,
        (passed.n, rows, cols),
        count=count,
        generator=generator,
        tolerance=1e-4,
        max_basis=max(60, 6 * count),
        epsilon=torch.finfo(passed.output.dtype).eps,
        device=passed.output.device,
    )
    squares, stderr = _squares(passed, pull, generator)
    return OutputSpectrum(found.values, found.errors, squares, stderr, 2 * found.n_products + PROBES + 1)


def _squares(
    passed: ForwardPass, pull: Callable[[Tensor], Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return ‖J‖_F² of every sample and its standard error, from random signs; exact of as few rows."""
    rows = passed.output.size
    if rows <= PROBES:
        total = torch.stack([pull(unit).square().sum(1) for unit in passed.units(rows)]).sum(0)
        return total, torch.zeros_like(total)
    draws = []
    for _ in range(PROBES):
        signs = torch.randint(2, (passed.n, rows), generator=generator, dtype=torch.int8)
        u = signs.to(passed.output.device, torch.float64).mul_(2).sub_(1)
        draws.append(pull(u).square().sum(1))
    each = torch.stack(draws)
    return each.mean(0), each.std(0) / math.sqrt(PROBES)


def written_out(passed: ForwardPass) -> tuple[Tensor | None, int]:
    """Return the Jacobian of every sample, [n, outputs, inputs], and how many backward passes it took.

    Row by row, or column by column where the inputs are less than half as many: a column takes two passes.
    """
    rows, cols = passed.output.size, passed.n_inputs
    if rows <= 2 * cols:
        return passed.rows_of([passed.output], passed.sources), rows
    push = passed.pushing(passed.output, passed.sources)
    if push is None:
        return None, 1
    return torch.stack([push(unit) for unit in passed.units(cols)], 2), cols + 1


def climb(run: Run, radius: float, generator: torch.Generator) -> Tensor:
    """Return the largest singular value that is met on a way uphill around every sample, [n].

    From each sample x the way follows the gradient of σ = pᵀJ(x)q, p and q the leading singular vectors where it is,
    in steps of a quarter of the radius, and never leaves the ball. Where J is piecewise constant, as in a network of
    rectifiers, the gradient is zero, and it goes along ±q, across which the outputs change most.

    Parameters
    ----------
    run
        Runs the samples with their sources shifted by [n, Σ size], or where they are.
    """
    best, shift = None, None
    for _ in range(STEPS):
        passed = run(shift)
        push = passed.pushing(passed.output, passed.sources)
        if push is None:
            return torch.zeros(passed.n, dtype=torch.float64)
        found = leading_singular_values(
            push,
            partial(_pulled, passed),
            (passed.n, passed.output.size, passed.n_inputs),
            generator=generator,
            max_basis=_NEARBY_PRODUCTS,
            device=passed.output.device,
        )
        value = found.values[:, 0]
        best = value if best is None else torch.maximum(best, value)
        uphill = passed.uphill(found.left, found.right)
        signs = torch.randint(2, (passed.n, 1), generator=generator).to(value.device, torch.float64) * 2 - 1
        flat = uphill.norm(dim=1) * radius <= 1e-9 * value
        step = torch.where(flat[:, None], signs * found.right, uphill)
        step = step / step.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        moved = radius / 4 * step if shift is None else shift + radius / 4 * step
        shift = moved * (radius / moved.norm(dim=1, keepdim=True).clamp_min(radius))
    assert best is not None
    return best


def _pulled(passed: ForwardPass, u: Tensor) -> Tensor:
    made = passed.pull_back([passed.output], u, passed.sources)
    assert made is not None
    return made
