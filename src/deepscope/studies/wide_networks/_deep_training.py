"""Deep networks from random weights of given variances: what they learn of their training images in so many steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepscope.core import Case, MeasurementError, TrialRun, UsageError, derive_seed, nearest
from deepscope.data import Dataset, Samples, load
from deepscope.models import MLP
from deepscope.training import fit


def _gaussian(weight: Tensor, variance: float, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=math.sqrt(variance / weight.shape[1]), generator=generator)


def _orthogonal(weight: Tensor, variance: float, generator: torch.Generator) -> None:
    nn.init.orthogonal_(weight, gain=math.sqrt(variance), generator=generator)


STARTS: dict[str, Callable[[Tensor, float, torch.Generator], None]] = {
    "gaussian": _gaussian,
    "orthogonal": _orthogonal,
}


def training_trial(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network by stochastic gradient descent.

    Returns
    -------
    dict
        ``accuracy``: on all training images, after the last step; None where the training diverged.
    """
    samples = images(load(case.data), case.n_train, run.generator)
    network = deep_network(case, samples, run.generator).to(run.device)
    batches = samples.epochs(case.batch_size, seed=derive_seed(run.seed, "batches"))
    per_epoch = len(batches(0))

    def some(epoch: int) -> Iterable[tuple[Tensor, Tensor]]:
        return itertools.islice(batches(epoch), case.steps - epoch * per_epoch)

    try:
        fit(
            network,
            some,
            functional.cross_entropy,
            optimizer=torch.optim.SGD(network.parameters(), lr=case.learning_rate),
            epochs=math.ceil(case.steps / per_epoch),
            seed=run.seed,
        )
    except MeasurementError as error:
        run.log(f"no accuracy: {error}")
        return {"accuracy": None}
    with torch.no_grad():
        answers = network(samples.inputs.to(run.device)).argmax(dim=1).cpu()
    return {"accuracy": (answers == samples.targets).double().mean().item()}


def images(data: Dataset, count: int, generator: torch.Generator) -> Samples:
    """Return so many training images, shifted and scaled so that their pixels have the moments 0 and 1.

    Raises
    ------
    UsageError
        There are not so many.
    """
    if not 1 <= count <= len(data.train):
        raise UsageError(f"{count} images are asked for", where=data.name, todo=f"Give 1 to {len(data.train)}.")
    chosen = torch.randperm(len(data.train), generator=generator)[:count]
    pixels = data.train.inputs[chosen]
    return Samples((pixels - pixels.mean()) / pixels.std(correction=0), data.train.targets[chosen], data.name)


def deep_network(case: Case, samples: Samples, generator: torch.Generator) -> MLP:
    """Return a network of ``depth`` hidden layers of ``width`` units, all layers drawn alike.

    Weights are normal with variance σ_w²/(number of the layer's inputs), or σ_w times an orthogonal matrix; biases are
    normal with variance σ_b².

    Raises
    ------
    UsageError
        An unknown start.
    """
    if case.start not in STARTS:
        raise UsageError("unknown start", where=case.start, todo=nearest(case.start, STARTS))
    network = MLP(
        samples.inputs[0].numel(),
        [case.width] * case.depth,
        int(samples.targets.max()) + 1,
        activation=case.activation,
    )
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            STARTS[case.start](layer.weight, case.weight_variance, generator)
            nn.init.normal_(layer.bias, std=math.sqrt(case.bias_variance), generator=generator)
    return network
