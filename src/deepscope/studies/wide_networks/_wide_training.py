"""A trial: a wide network is trained, and compared all the way with what its first tangent kernel predicts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deepscope.core import Case, TrialRun, UsageError, nearest
from deepscope.linalg import infinite_width_kernel
from deepscope.studies.wide_networks._kernel_descent import Floats, KernelDescent
from deepscope.studies.wide_networks._wide_network import ACTIVATIONS, WEIGHT_VARIANCE, WideNetwork
from deepscope.studies.wide_networks._wide_tasks import Task, make_task

SCALINGS = ("ntk", "mean field")
#: Outputs are compared at steps this factor apart.
APART = 1.05
#: Steps kept of the curve of the loss, evenly over the logarithm.
KEPT = 60


@dataclass(frozen=True, eq=False)
class _Course:
    """The loss before each step and after the last, and the outputs for all points at some of these moments."""

    losses: Floats
    outputs: dict[int, Floats]

    @property
    def steps(self) -> int:
        return len(self.losses) - 1


def train_wide(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network to the target loss, and compare it with gradient descent with a fixed kernel.

    Returns
    -------
    dict
        ``steps``, ``loss``: how many, and the last; None if it is not finite. If it is below the target loss, also:

        ``kernel_change``: ‖Θ_T − Θ₀‖ / ‖Θ₀‖ on the training points (Frobenius). ``distance``: ‖θ_T − θ₀‖.
        ``kernel_distance``: ‖Θ₀ − Θ∞‖ / ‖Θ∞‖, with Θ∞ the kernel of infinite width, RMS over networks drawn.

        Largest differences of outputs at any point, as part of the range of the targets. At any step compared: ``gap``,
        of the network to its linearisation; ``regression_gap``, to kernel regression with Θ∞ from the same start. After
        training: ``untrained_gap``, of the linearisation to the untrained network; ``other_gap``, of the network to the
        linearisation of another one, drawn and trained alike.

        ``loss_deviation``: largest |log| of the loss over that of the linearisation, at any step before the last.
        ``step``, ``course``, ``formula``: curves of both losses. ``start``, ``network``, ``linearised``: outputs at the
        points that are not learnt, [points].
    """
    task = make_task(case.task, case.n_train, run.seed)
    # The scaling draws nothing: networks of either start alike.
    rng = np.random.default_rng([run.seed, case.width, case.depth])
    network = _drawn(case, run, task, rng)
    points = torch.from_numpy(task.points).to(run.device)
    first = [weight.clone() for weight in network.weights]
    linearised = _linearised(network, points, task)
    course = _train(network, task, linearised.rate, case, points)
    loss = float(course.losses[-1])
    found: dict[str, Any] = {"steps": course.steps, "loss": loss if math.isfinite(loss) else None}
    if not loss < case.target_loss:
        return found

    learnt = points[: task.n_train]
    limit = infinite_width_kernel(task.points, None, case.depth, case.activation, WEIGHT_VARIANCE).ntk
    moved = [(now - then).square().sum().item() for now, then in zip(network.weights, first, strict=True)]
    other = _linearised(_drawn(case, run, task, rng), points, task)
    found |= {
        "kernel_change": _relative(network.tangent_kernel(learnt).cpu().numpy(), linearised.kernel[: task.n_train]),
        "distance": math.sqrt(sum(moved)),
        "kernel_distance": _kernel_distance(case, run, task, learnt, limit[: task.n_train, : task.n_train], rng),
    }
    return found | _gaps(course, task, linearised, limit, other) | _curves(course, task, linearised)


def _gaps(
    course: _Course, task: Task, linearised: KernelDescent, limit: Floats, other: KernelDescent
) -> dict[str, float]:
    targets, steps = task.targets[: task.n_train], course.steps
    regression = KernelDescent.of(limit, linearised.start, targets, rate=linearised.rate)
    gaps = {
        "gap": _largest_gap(course, linearised),
        "regression_gap": _largest_gap(course, regression),
        "untrained_gap": _gap(linearised.start, linearised.outputs(steps)),
        "other_gap": _gap(course.outputs[steps], other.outputs(steps)),
    }
    return {name: gap / task.range for name, gap in gaps.items()}


def _curves(course: _Course, task: Task, linearised: KernelDescent) -> dict[str, Any]:
    formula = linearised.losses(np.arange(course.steps + 1))
    kept = np.unique(np.geomspace(1, course.steps + 1, KEPT).astype(int)) - 1
    return {
        "loss_deviation": float(np.abs(np.log(course.losses[:-1] / formula[:-1])).max(initial=0.0)),
        "step": kept,
        "course": course.losses[kept],
        "formula": formula[kept],
        "start": linearised.start[task.n_train :],
        "network": course.outputs[course.steps][task.n_train :],
        "linearised": linearised.outputs(course.steps)[task.n_train :],
    }


def check(case: Case) -> None:
    """Refuse a case that cannot be run.

    Raises
    ------
    UsageError
        An unknown scaling or activation, a count below 1, a target loss that is not above 0.
    """
    for name, known in (("scaling", SCALINGS), ("activation", tuple(ACTIVATIONS))):
        if case[name] not in known:
            raise UsageError(f"unknown {name}", where=str(case[name]), todo=nearest(str(case[name]), known))
    for name in ("width", "depth", "most_steps", "draws"):
        count = case[name]
        if not isinstance(count, int) or count < 1:
            raise UsageError(f"this is {count}", where=name, todo="Give a whole number of at least 1.")
    if not case.target_loss > 0:
        raise UsageError(f"this is {case.target_loss}", where="target_loss", todo="Give a number above 0.")


def _drawn(case: Case, run: TrialRun, task: Task, rng: np.random.Generator) -> WideNetwork:
    scale = case.width**-0.5 if case.scaling == "mean field" else 1.0
    widths = (task.points.shape[1], *[case.width] * case.depth)
    return WideNetwork.drawn(rng, widths, case.activation, scale=scale, device=run.device)


def _linearised(network: WideNetwork, points: torch.Tensor, task: Task) -> KernelDescent:
    kernel, start = network.tangent_kernel(points), network.outputs(points)
    return KernelDescent.of(kernel.cpu().numpy(), start.cpu().numpy(), task.targets[: task.n_train])


def _train(network: WideNetwork, task: Task, rate: float, case: Case, points: torch.Tensor) -> _Course:
    """Descend until the loss is below the target loss, or the steps are used up, or it is not finite."""
    inputs = points[: task.n_train]
    targets = torch.from_numpy(task.targets[: task.n_train]).to(points.device)
    losses: list[float] = []
    outputs: dict[int, Floats] = {}
    compared = _moments()
    moment = next(compared)
    for step in range(case.most_steps + 1):
        loss, gradients = network.loss(inputs, targets)
        losses.append(loss)
        ends = loss < case.target_loss or step == case.most_steps or not math.isfinite(loss)
        if step == moment or ends:
            outputs[step] = network.outputs(points).cpu().numpy()
            moment = next(compared)
        if ends:
            break
        network.descend(gradients, rate)
    return _Course(np.array(losses), outputs)


def _moments() -> Iterator[int]:
    """Return the steps after which outputs are compared: the first ones, then a factor apart."""
    step = 0
    while True:
        yield step
        step = max(step + 1, round(APART * step))


def _kernel_distance(
    case: Case, run: TrialRun, task: Task, inputs: torch.Tensor, limit: Floats, rng: np.random.Generator
) -> float:
    """Return the RMS over networks drawn of the relative distance of their kernel from that of infinite width."""
    drawn = [_drawn(case, run, task, rng).tangent_kernel(inputs).cpu().numpy() for _ in range(case.draws)]
    return math.sqrt(np.mean([_relative(kernel, limit) ** 2 for kernel in drawn]))


def _largest_gap(course: _Course, model: KernelDescent) -> float:
    return max(_gap(outputs, model.outputs(step)) for step, outputs in course.outputs.items())


def _gap(first: Floats, second: Floats) -> float:
    return float(np.abs(first - second).max())


def _relative(found: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
