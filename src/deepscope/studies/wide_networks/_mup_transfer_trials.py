"""One trial: the best rate of one width, or how far training moves the layers of several widths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import load
from deepscope.studies.wide_networks._width_training import losses, parametrise, perceptron, train_at_rates
from deepscope.subject import seeded_generators
from deepscope.training import Adam, coordinate_check

#: Layers that are judged, among those with weights.
PLACES = {"last_hidden": -2, "output": -1}


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Find a best rate, or check coordinates."""
    measures = {"rates": _rates, "coordinates": _coordinates}
    if case.measure not in measures:
        raise UsageError("unknown measure", where=str(case.measure), todo=nearest(str(case.measure), measures))
    digits = load("digits").train
    return measures[case.measure](case, run, digits.inputs.to(run.device), digits.targets.to(run.device))


def _rates(case: Case, run: TrialRun, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Train at every rate, on the same batches whatever the arm and the width."""
    with seeded_generators(derive_seed(run.seed, "weights", case.width)):
        network, base = perceptron(case.width).to(run.device), perceptron(case.base).to(run.device)
        factors = parametrise(network, base, case.arm)
    order = torch.randint(len(targets), (case.steps, case.batch_size), generator=run.generator).to(run.device)
    logs = np.arange(case.lowest, case.highest + 1, dtype=np.float64)
    rates = torch.tensor(2.0**logs, dtype=torch.float32, device=run.device)
    weights = train_at_rates(network, factors, rates, [(inputs[chosen], targets[chosen]) for chosen in order])
    found = losses(weights, inputs, targets).double().cpu().numpy()
    return {"log2_rates": logs, "losses": found, "optimum": optimum(logs, found)}


def optimum(places: ArrayLike, values: ArrayLike) -> float | None:
    """Return where the parabola through the least of positive values and its neighbours, in log, is least.

    None where the least stands at an end, or a neighbour is not finite. Places are evenly spaced.
    """
    xs, ys = (np.asarray(each, dtype=np.float64) for each in (places, values))
    finite = np.where(np.isfinite(ys), ys, math.inf)
    least = int(np.argmin(finite))
    near = finite[max(least - 1, 0) : least + 2]
    if least == 0 or len(near) < 3 or not np.isfinite(near).all():
        return None
    before, at, after = np.log(near)
    bend = before - 2 * at + after
    shift = (before - after) / (2 * bend) if bend > 0 else 0.0
    return float(xs[least] + shift * (xs[1] - xs[0]))


def _coordinates(case: Case, run: TrialRun, inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Check how far the outputs of layers move, at twice the base's width and its doubles up to the case's."""

    def optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
        factors = parametrise(network, perceptron(case.base).to(run.device), case.arm)
        parameters = zip(network.parameters(), factors, strict=True)
        return Adam([{"params": [each], "lr": 2.0**case.coordinate_rate * factor} for each, factor in parameters])

    found = coordinate_check(
        lambda width: perceptron(width).to(run.device),
        [case.base * 2**power for power in range(1, 1 + int(math.log2(case.width / case.base)))],
        (inputs[: case.probe], targets[: case.probe]),
        functional.cross_entropy,
        optimizer=optimizer,
        steps=case.coordinate_steps,
        seeds=[run.seed],
    )
    slopes = found.slopes()
    return {
        "widths": np.array(found.widths),
        "least_change": float(found.change[0, :, -1].min()),
        **{f"{name}_change": found.change[0, :, -1, place] for name, place in PLACES.items()},
        **{f"{name}_slope": float(slopes[found.layers[place]][0]) for name, place in PLACES.items()},
    }
