"""What equations learn by the adjoint method: to turn the line around, and the rates of prey and predators."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from deepscope.core import Case, TrialRun, derive_seed
from deepscope.models import ODEBlock, PerceptronField
from deepscope.studies.differential_equations._ode_fields import LotkaVolterra, equation
from deepscope.subject import seeded_generators

#: Tolerances in training, of either task, and of what is measured after it.
LOOSE, FITTING, TIGHT = 1e-3, 1e-5, 1e-8
#: Parts of the data, from the first on, to which rates are fitted one after another.
PARTS = (0.25, 0.5, 1.0)
#: Points drawn of a solution, for each that is observed.
DRAWN = 10


def reverse(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train an equation of 1 + ``case.augment`` dimensions to map x to −x at 20 points from −1 to 1.

    Returns
    -------
    dict
        ``before``, ``loss``: mean squared error before and after training over the points' variance, by a solver of
        tolerance 10⁻⁸; ``curve``, ``evaluations``: while training, the error, and calls of the field forwards.
    """
    with seeded_generators(derive_seed(run.seed, "field")):
        field = PerceptronField(1 + case.augment, [32]).double()
    block = ODEBlock(field, rtol=LOOSE, atol=LOOSE, adjoint=True, augment=case.augment)
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    optimizer = torch.optim.Adam(block.parameters(), lr=case.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, case.steps)
    before, curve, evaluations = _error(block, x), [], []
    for step in range(case.steps):
        optimizer.zero_grad()
        loss = reversal_loss(block, x)
        evaluations.append(block.evaluations)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        curve.append(loss.item())
        run.progress((step + 1) / case.steps)
    return {"before": before, "loss": _error(block, x), "curve": curve, "evaluations": evaluations}


def reversal_loss(block: ODEBlock, x: Tensor) -> Tensor:
    """Return the mean of (z₁(1) + x)² over that of x²; points on the line that keep their order have at least 1."""
    found: Tensor = (block(x)[:, :1] + x).square().mean() / x.square().mean()
    return found


@torch.no_grad()
def _error(block: ODEBlock, x: Tensor) -> float:
    tight = ODEBlock(block.field, rtol=TIGHT, atol=TIGHT, augment=block.augment)
    return reversal_loss(tight, x).item()


def fit_rates(case: Case, run: TrialRun) -> dict[str, Any]:
    """Fit the four rates of Lotka and Volterra to a noisy solution, from half or one and a half times the true ones.

    Returns
    -------
    dict
        ``error``, ``error_before``: the largest and the least relative error of a rate, after and before; ``times``,
        ``data``: what is observed, [times, 2]; ``before``, ``after``: solutions at ten times as many times.
    """
    field, start, end = equation("lotka-volterra", run.seed)
    truth = cast(LotkaVolterra, field)
    fine = tuple(torch.linspace(0, end * case.part, DRAWN * case.observations + 1, dtype=torch.float64).tolist())
    times = fine[::DRAWN]
    generator = torch.Generator().manual_seed(derive_seed(run.seed, "noise"))
    clean = solution(truth, start, times)
    data = clean * (1 + case.noise * torch.randn(clean.shape, generator=generator, dtype=torch.float64))
    true = truth.log_rates.detach().exp()
    signs = 2.0 * torch.randint(2, true.shape, generator=generator) - 1
    model = LotkaVolterra(true * (1 + 0.5 * signs))
    before, error_before = solution(model, start, fine), _relative(model, true).min().item()
    for part in PARTS:
        _fit(model, start, times, data, round(part * case.observations), case.iterations)
    return {
        "error": _relative(model, true).max().item(),
        "error_before": error_before,
        "times": list(times),
        "data": data.tolist(),
        "before": before.tolist(),
        "after": solution(model, start, fine).tolist(),
    }


def _relative(model: LotkaVolterra, true: Tensor) -> Tensor:
    found: Tensor = (model.log_rates.detach().exp() / true - 1).abs()
    return found


def _fit(
    model: LotkaVolterra, start: Tensor, times: tuple[float, ...], data: Tensor, last: int, iterations: int
) -> None:
    """Fit the first observations, each of the two in its own deviation."""
    block = ODEBlock(model, times=times[: last + 1], rtol=FITTING, atol=FITTING, adjoint=True)
    seen = data[: last + 1]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ((block.trajectory(start)[0] - seen) / seen.std(0)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]


@torch.no_grad()
def solution(model: LotkaVolterra, start: Tensor, times: tuple[float, ...]) -> Tensor:
    """Return the solution at the times, [times, 2]."""
    return ODEBlock(model, times=times, rtol=TIGHT, atol=TIGHT).trajectory(start)[0]
