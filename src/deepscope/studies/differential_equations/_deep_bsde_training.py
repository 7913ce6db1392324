"""Training of the deep BSDE solver: few steps in time first, then half the step, and half again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deepscope.core import TrialRun, write_atomically
from deepscope.models import DeepBSDE, ParabolicProblem

#: Adam's highest learning rates, at the coarsest step. The networks' outputs are linear in the last layer, whose rate
#: falls with the square of the number of steps: after a halving there is little to learn and twice as much noise. A
#: number of its own, and a factor, have far to travel and hardly any noise.
HIDDEN_RATE = 3e-4
OUTPUT_RATE = 3e-2
SCALAR_RATE = 1.5e-2
BATCH = 256
_CHUNK = 2048


def refine(
    problem: ParabolicProblem, levels: dict[int, int], run: TrialRun, *, network: bool, paths: int
) -> Iterator[dict[str, float]]:
    """Train at each number of steps, which doubles from one to the next, for so many batches of fresh paths.

    Yields per level the number of steps, Y₀, and the terminal loss over the variance of g on fresh paths. Without
    ``network`` Z stays 0, and Y₀ alone is trained. Cut off, it resumes after the last level that was finished.
    """
    done, solver, generator = _resumed(problem, levels, run)
    yield from done
    for steps in list(levels)[len(done) :]:
        solver = solver.refined() if done else solver
        solver.requires_grad_(network)
        solver.value.requires_grad_(True)
        _train(solver, levels[steps], next(iter(levels)), generator)
        done.append({"steps": steps, "value": solver.solution, "loss": relative_loss(solver, paths, generator)})
        _keep(run, done, solver, generator)
        run.progress(len(done) / len(levels))
        yield done[-1]


def _train(solver: DeepBSDE, batches: int, coarsest: int, generator: torch.Generator) -> None:
    output = OUTPUT_RATE * (coarsest / solver.steps) ** 2
    groups: list[tuple[list[Tensor], float]] = [
        ([solver.value, solver.networks.factor], SCALAR_RATE),
        ([solver.initial_gradient, solver.networks.weight3, solver.networks.bias3], output),
        ([getattr(solver.networks, f"{kind}{layer}") for kind in ("weight", "bias") for layer in (1, 2)], HIDDEN_RATE),
    ]
    optimizer = torch.optim.Adam([{"params": parameters, "lr": rate} for parameters, rate in groups], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [rate for _, rate in groups], total_steps=batches, pct_start=0.05
    )
    for _ in range(batches):
        ends, targets = solver(solver.increments(BATCH, generator))
        # In units of g's spread: Adam does not see the unit, but for the number that keeps it from dividing by 0.
        loss = ((ends - targets) / solver.unit).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def relative_loss(solver: DeepBSDE, paths: int, generator: torch.Generator) -> float:
    """Return the mean of (Y_N − g(X_N))² over the variance of g(X_N), on the same fresh paths."""
    chunks = [min(_CHUNK, paths - start) for start in range(0, paths, _CHUNK)]
    with torch.no_grad():
        found = [solver(solver.increments(chunk, generator)) for chunk in chunks]
    ends, targets = (torch.cat(each).double() for each in zip(*found, strict=True))
    return ((ends - targets).square().mean() / targets.var()).item()


def _keep(run: TrialRun, done: list[dict[str, float]], solver: DeepBSDE, generator: torch.Generator) -> None:
    buffer = io.BytesIO()
    torch.save({"done": done, "solver": solver.state_dict(), "generator": generator.get_state()}, buffer)
    write_atomically(run.checkpoint, buffer.getvalue())


def _resumed(
    problem: ParabolicProblem, levels: dict[int, int], run: TrialRun
) -> tuple[list[dict[str, float]], DeepBSDE, torch.Generator]:
    """Return the levels that are done, the solver as the last of them left it, and the generator."""
    generator = run.generator
    solver = DeepBSDE(problem, next(iter(levels)), generator=generator).to(run.device)
    if not run.checkpoint.exists():
        return [], solver, generator
    saved: dict[str, Any] = torch.load(run.checkpoint, weights_only=True, map_location="cpu")
    for _ in saved["done"][1:]:
        solver = solver.refined()
    solver.load_state_dict(saved["solver"])
    generator.set_state(saved["generator"])
    return list(saved["done"]), solver, generator
