"""One trial: a deep network is trained, or left as it starts, and the loss around it is measured."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from deepscope.core import Case, TrialRun, UsageError, derive_seed
from deepscope.data import Dataset, Samples, load
from deepscope.instruments import landscape
from deepscope.studies.loss_landscape._random_planes import Direction, losses_on_plane, non_convexities, random_plane
from deepscope.studies.loss_landscape._skip_networks import deep_network, rescaled
from deepscope.studies.loss_landscape._slice_measures import bumpy_lines, roughness
from deepscope.subject import Subject
from deepscope.training import Callback, Checkpoint, GradientClipping, TrainingState, fit

#: Half the side of the square in which curvatures are measured.
MAP_RADIUS = 0.5
#: The same in directions that are not normalised.
GAUSSIAN_RADIUS = 0.1
SAVED_EVERY = 5000


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return how a network was trained, and what the loss is like around it.

    Returns
    -------
    dict
        ``loss``, ``steps``, ``test_error``: at the end of training, on the training images and on all others.
        ``curvatures``: [map_points, map_points], |min(λ_min, 0)|/λ_max in the square within ±½ of a filter-normalised
        plane (None where one was not found), and ``non_convexity``, their mean. Of a network that was trained also
        ``losses``: [points, points], the training loss on the slice of the same plane with coordinates from −1 to 1;
        its ``roughness`` and ``bumpy_lines``.
        ``filtered_change`` and ``gaussian_change``: largest difference of the log loss between a slice of the network
        and one of a rescaled copy, the same function, in the same draws; filter-normalised and as they are drawn.
    """
    generator = run.generator
    train, test = split(load(case.data), case.n_train, generator)
    train, test = (Samples(each.inputs.to(run.device), each.targets.to(run.device)) for each in (train, test))
    model = deep_network(
        train.inputs[0].numel(),
        case.depth,
        case.width,
        int(test.targets.max()) + 1,
        skip=case.skip,
        generator=generator,
    ).to(run.device)
    found: dict[str, Any] = _trained(case, model, train, run)
    run.progress(0.3)
    with torch.no_grad():
        found["test_error"] = (model(test.inputs).argmax(dim=1) != test.targets).double().mean().item()

    plane, few = derive_seed(run.seed, "plane"), Samples(train.inputs[: case.n_curved], train.targets[: case.n_curved])
    directions = random_plane(model, plane)
    curvatures = non_convexities(model, directions, few, case.map_points, MAP_RADIUS, derive_seed(run.seed, "lanczos"))
    if curvatures is None:
        run.log("an eigenvalue was not found: no mean of them is given")
    found["curvatures"] = curvatures
    found["non_convexity"] = None if curvatures is None else float(curvatures.mean())
    if not case.epochs:
        return found
    run.progress(0.6)
    losses = _slice(model, directions, train, case.points)
    return found | {
        "losses": losses,
        "roughness": roughness(losses),
        "bumpy_lines": bumpy_lines(losses),
        **_against_a_rescaled_copy(model, train, case.compared_points, plane, generator),
    }


def split(data: Dataset, n_train: int, generator: torch.Generator) -> tuple[Samples, Samples]:
    """Return some images, and all others; both shifted and scaled so that the pixels of the first have moments 0 and 1.

    Raises
    ------
    UsageError
        There are not more images than that.
    """
    inputs = torch.cat([data.train.inputs, data.test.inputs])
    targets = torch.cat([data.train.targets, data.test.targets])
    if not 1 <= n_train < len(inputs):
        raise UsageError(
            f"{n_train} training images are asked for", where=data.name, todo=f"Give 1 to {len(inputs) - 1}."
        )
    order = torch.randperm(len(inputs), generator=generator)
    pixels = inputs[order[:n_train]]
    inputs = (inputs - pixels.mean()) / pixels.std(correction=0)
    first, rest = order[:n_train], order[n_train:]
    return Samples(inputs[first], targets[first], data.name), Samples(inputs[rest], targets[rest], data.name)


def _trained(case: Case, model: nn.Module, train: Samples, run: TrialRun) -> dict[str, Any]:
    """Train until the loss of all training images is low enough, looked at after each epoch; without epochs, not."""
    goal = _LowLoss(train, case.target_loss)
    history = fit(
        model,
        train.epochs(case.batch_size, seed=derive_seed(run.seed, "batches")),
        functional.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=case.learning_rate, fused=True),
        epochs=case.epochs,
        callbacks=[GradientClipping(case.clip), goal],
        checkpoint=Checkpoint(run.checkpoint, every_steps=SAVED_EVERY),
        seed=run.seed,
    )
    return {"loss": goal.measured(model), "steps": len(history.loss)}


@final
class _LowLoss(Callback):
    """Ends the training where the loss over all samples is low enough."""

    def __init__(self, samples: Samples, target: float) -> None:
        self.samples, self.target = samples, target

    def measured(self, model: nn.Module) -> float:
        """Return the mean loss over all samples."""
        with torch.no_grad():
            return functional.cross_entropy(model(self.samples.inputs), self.samples.targets).item()

    def on_epoch_end(self, state: TrainingState) -> None:
        """Look at it."""
        state.stop = self.measured(state.model) <= self.target

    def configuration(self) -> dict[str, object]:
        """Return the loss that is asked for."""
        return {"target": self.target}


def _slice(model: nn.Module, directions: Sequence[Direction], samples: Samples, points: int) -> NDArray[np.float64]:
    subject = Subject(model, samples.batches(len(samples)), functional.cross_entropy)
    return landscape(subject, directions=directions, points=points, max_samples=None).losses


def _against_a_rescaled_copy(
    model: nn.Sequential, samples: Samples, points: int, plane: int, generator: torch.Generator
) -> dict[str, float | None]:
    """Compare slices of a network and of a rescaled copy, in float64, which rounding leaves alike."""
    one = copy.deepcopy(model).double()
    other = rescaled(one, generator)
    exact = Samples(samples.inputs.double(), samples.targets)
    found: dict[str, float | None] = {}
    for name, by_filter, radius in (("filtered_change", True, 1.0), ("gaussian_change", False, GAUSSIAN_RADIUS)):
        heights = [
            np.log(losses_on_plane(each, random_plane(each, plane, by_filter=by_filter), exact, points, radius))
            for each in (one, other)
        ]
        change = float(np.abs(heights[1] - heights[0]).max())
        found[name] = change if math.isfinite(change) else None
    return found
