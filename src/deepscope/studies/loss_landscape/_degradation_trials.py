"""One trial: a plain or residual network is trained at a learning rate that was chosen on other seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, MeasurementError, TrialRun, UsageError, Value, derive_seed, nearest
from deepscope.data import Dataset, Samples, load
from deepscope.studies.loss_landscape._degradation_cases import RECIPES
from deepscope.studies.loss_landscape._degradation_networks import (
    ARMS,
    build_network,
    growth,
    responses,
    similarity,
    states,
    without_branches,
)
from deepscope.training import Checkpoint, constant, cosine, fit

#: The first seed on which learning rates are chosen; no trial has it.
TUNING_SEED = 10_000
MOMENTUM = 0.9
SAVED_EVERY = 1000
#: Of so many images signals and gradients are measured.
N_MEASURED = 200
N_CLASSES = 10
#: Share of wrong answers of a network that says nothing; what counts where training diverged.
CHANCE = 1 - 1 / N_CLASSES


def trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Return what a network has learned.

    Returns
    -------
    dict
        ``train_error``, ``test_error``: shares of wrong answers after the last step, ``loss`` that on the training
        images. Where training diverged the errors are those of chance, 0.9, the loss is None, and ``diverged`` is 1.
        ``rate``: the learning rate; of ``selection="best"`` the one with the least training error in this very run.
        ``error_without_branches``: training error with the skip connections alone, None of a plain network.
        Of perceptrons also ``responses``: the standard deviation of each pair's output after training (None where that
        diverged); and before training, ``similarity``: [pairs + 1], mean cosine between images after the first layer
        and after each pair; ``growth``: log₂ of the factor by which their mean square grows per pair; and
        ``gradient_ratio``: norm of the loss's gradient by the first layer's weights over that by the last one's, None
        where that is 0.

    Raises
    ------
    UsageError
        An unknown selection, and what ``build_network`` refuses.
    """
    if case.selection not in SELECTIONS:
        raise UsageError("unknown selection", where=str(case.selection), todo=nearest(str(case.selection), SELECTIONS))
    if case.selection == "best":
        rates, checkpoint = RECIPES[case.family].rates, None
    else:
        tuned = run.shared(tuned_rate, device=run.device.type, **_of_all_selections(case))
        rates, checkpoint = (tuned["rate"],), run.checkpoint
    train, test = _images(case, run.seed, run.device)
    found = [trained(case, train, run.seed, rate, checkpoint) for rate in rates]
    best = min(found, key=lambda each: (_error(each.model, train), each.loss))
    if best.model is None:
        run.log(f"training diverged at a learning rate of {best.rate:g}: {best.reason}")
    numbers: dict[str, Any] = {
        "rate": best.rate,
        "train_error": _error(best.model, train),
        "test_error": _error(best.model, test),
        "loss": None if best.model is None else best.loss,
        "diverged": float(best.model is None),
        "error_without_branches": None,
    }
    if ARMS[case.arm]:
        skips = None if best.model is None else without_branches(best.model)
        numbers["error_without_branches"] = _error(skips, train)
    if case.family == "perceptron":
        few = Samples(train.inputs[:N_MEASURED], train.targets[:N_MEASURED])
        numbers |= at_the_start(_network(case, train, run.seed), few)
        numbers["responses"] = None if best.model is None else responses(best.model, few.inputs)  # type: ignore[arg-type]
    return numbers


SELECTIONS = ("tuned", "best")


def _of_all_selections(case: Case) -> dict[str, Value]:
    return {name: value for name, value in case.items() if name != "selection"}


def tuned_rate(device: str, **fields: Value) -> dict[str, float]:
    """Return the learning rate with the least final training loss, on average over ``tuning_seeds`` seeds.

    A run that diverges has an infinite loss. Of rates that are equally good it is the lowest.

    Parameters
    ----------
    device
        Where to compute.
    **fields
        Those of a case but ``selection``.
    """
    case = Case(**fields)
    losses = dict.fromkeys(RECIPES[case.family].rates, 0.0)
    for seed in range(TUNING_SEED, TUNING_SEED + case.tuning_seeds):
        train, _ = _images(case, seed, torch.device(device))
        for rate in losses:
            losses[rate] += trained(case, train, seed, rate).loss
    return {"rate": min(losses, key=lambda rate: losses[rate])}


@dataclass(frozen=True, eq=False)
class Trained:
    """A network after training; of one that diverged the reason, and an infinite loss."""

    rate: float
    model: nn.Module | None
    loss: float
    reason: str = ""


def trained(case: Case, train: Samples, seed: int, rate: float, checkpoint: Path | None = None) -> Trained:
    """Train a network by its family's recipe; images, weights and batches are the same for all rates of a seed."""
    recipe, model = RECIPES[case.family], _network(case, train, seed)
    steps = case.epochs * math.ceil(len(train) / case.batch_size)
    try:
        fit(
            model,
            train.epochs(case.batch_size, seed=derive_seed(seed, "batches")),
            functional.cross_entropy,
            optimizer=torch.optim.SGD(
                model.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=recipe.weight_decay, fused=True
            ),
            epochs=case.epochs,
            schedule=cosine(steps) if recipe.annealed else constant(),
            checkpoint=Checkpoint(checkpoint, every_steps=SAVED_EVERY) if checkpoint else None,
            seed=seed,
        )
        loss = _mean_loss(model.eval(), train)
    except MeasurementError as error:
        return Trained(rate, None, math.inf, error.what)
    return Trained(rate, model, loss) if math.isfinite(loss) else Trained(rate, None, math.inf, f"the loss is {loss}")


def at_the_start(model: nn.Module, samples: Samples) -> dict[str, Any]:
    """Return what an untrained perceptron does to images and gradients, as ``trial`` names it."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    loss = functional.cross_entropy(model(samples.inputs), samples.targets)
    first, last = torch.autograd.grad(loss, [weights[0], weights[-1]])
    with torch.no_grad():
        seen = states(model, samples.inputs)  # type: ignore[arg-type]
    return {
        "similarity": [similarity(h) for h in seen],
        "growth": growth(seen),
        "gradient_ratio": (first.norm() / last.norm()).item() if last.any() else None,
    }


def _network(case: Case, train: Samples, seed: int) -> nn.Module:
    model = build_network(case, train.inputs[0], N_CLASSES, derive_seed(seed, "weights"))
    return model.to(train.inputs.device)


def _images(case: Case, seed: int, device: torch.device) -> tuple[Samples, Samples]:
    generator = torch.Generator().manual_seed(derive_seed(seed, "images"))
    parts = chosen_images(load(case.data), case.n_train, generator)
    train, test = (Samples(part.inputs.to(device), part.targets.to(device), part.name) for part in parts)
    return train, test


def chosen_images(data: Dataset, n_train: int, generator: torch.Generator) -> tuple[Samples, Samples]:
    """Return some training images, and all test images; one shift and scale gives the former's pixels moments 0 and 1.

    Raises
    ------
    UsageError
        There are not so many.
    """
    if not 1 <= n_train <= len(data.train):
        raise UsageError(
            f"{n_train} training images are asked for", where=data.name, todo=f"Give 1 to {len(data.train)}."
        )
    chosen = torch.randperm(len(data.train), generator=generator)[:n_train]
    pixels = data.train.inputs[chosen]
    mean, deviation = pixels.mean(), pixels.std(correction=0)
    return (
        Samples((pixels - mean) / deviation, data.train.targets[chosen], data.name),
        Samples((data.test.inputs - mean) / deviation, data.test.targets, data.name),
    )


@torch.no_grad()
def _mean_loss(model: nn.Module, samples: Samples) -> float:
    sums = [functional.cross_entropy(model(x), y, reduction="sum").item() for x, y in samples.batches(1000)]
    return sum(sums) / len(samples)


@torch.no_grad()
def _error(model: nn.Module | None, samples: Samples) -> float:
    if model is None:
        return CHANCE
    wrong = sum(int((model(x).argmax(dim=1) != y).sum()) for x, y in samples.batches(1000))
    return wrong / len(samples)
