"""One trial: a perceptron in one of its arms is trained at all learning rates of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deepscope.core import Case, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Samples, load
from deepscope.studies.optimisation._moment_drift import moment_drift
from deepscope.studies.optimisation._normalised_networks import normalised_network
from deepscope.studies.optimisation._rate_sweep import accuracies, sweep


@dataclass(frozen=True)
class Recipe:
    """A network and the learning rates it is given: 2 to these powers."""

    activation: str
    depth: int
    powers: range

    @property
    def rates(self) -> list[float]:
        """The learning rates, ascending."""
        return [2.0**power for power in self.powers]


RECIPES = {
    "sigmoid": Recipe("sigmoid", 3, range(-2, 7)),
    "relu": Recipe("relu", 6, range(-5, 5)),
    "shallow": Recipe("relu", 2, range(-5, 5)),
    "pairs": Recipe("relu", 6, range(-8, -2)),
}


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network at each rate, and once more at the best to follow its moments.

    Returns
    -------
    dict
        ``rates``; ``reached``: steps until trained at each (0 where it never was); ``accuracies`` at the end; ``best``:
        the fewest steps, the limit where no rate got there; ``stable``: the largest rate that ends at 90 %, None where
        the grid has no larger one that does not; ``accuracy``: the largest at the end, of a network that is normalised
        the larger of that over all images as one batch and in batches of the size of training; ``drift``: see
        ``moment_drift``, at the rate of ``best`` and up to it, None in pairs or where there is none.

    Raises
    ------
    UsageError
        An unknown network, more images than there are, and what networks and batches refuse.
    """
    if case.network not in RECIPES:
        raise UsageError("unknown network", where=case.network, todo=nearest(case.network, RECIPES))
    recipe, order = RECIPES[case.network], derive_seed(run.seed, "batches")
    samples = centred(case.data, case.n_train, run.generator, run.device)
    model = normalised_network(
        samples.inputs.shape[1],
        recipe.depth,
        case.width,
        int(samples.targets.max()) + 1,
        activation=recipe.activation,
        arm=case.arm,
        generator=torch.Generator().manual_seed(derive_seed(run.seed, "weights")),
    ).to(run.device)
    training = {"batch_size": case.batch_size, "seed": order}
    found, networks = sweep(model, recipe.rates, samples, steps=case.steps, **training)
    run.progress(0.9)
    in_batches = accuracies(networks, samples, case.batch_size).tolist() if case.network == "pairs" else []
    best = found.best(case.steps)
    drift = None
    if case.network != "pairs" and best in found.steps and best > 1:
        drift = moment_drift(model, recipe.rates[found.steps.index(best)], samples, steps=best, **training)
    return {
        "rates": recipe.rates,
        "reached": [each or 0 for each in found.steps],
        "accuracies": found.accuracies,
        "best": best,
        "stable": found.stable(recipe.rates),
        "accuracy": max(*found.accuracies, *in_batches),
        "drift": drift,
    }


def centred(name: str, n_train: int, generator: torch.Generator, device: torch.device) -> Samples:
    """Return some training images [n, pixels], each pixel less its mean, all over one standard deviation.

    Raises
    ------
    UsageError
        There are not as many.
    """
    train = load(name).train
    if not 2 <= n_train <= len(train):
        raise UsageError(f"{n_train} training images are asked for", where=name, todo=f"Give 2 to {len(train)}.")
    chosen = torch.randperm(len(train), generator=generator)[:n_train]
    pixels = train.inputs[chosen].flatten(1)
    pixels = pixels - pixels.mean(0)
    return Samples((pixels / pixels.std()).to(device), train.targets[chosen].to(device), name)
