"""A zoo of small networks, in series that change one setting each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deepscope.core import Case, Grid, TrialRun, Value, derive_seed
from deepscope.data import load
from deepscope.studies.generalisation._randomised_images import randomise
from deepscope.studies.generalisation._weight_metrics import hidden_weights, weight_metrics
from deepscope.subject import seeded_generators
from deepscope.training import Checkpoint, evaluate, fit

Settings = Mapping[str, Sequence[Value]]

#: The network that all series have in common.
BASE: dict[str, Value] = {"epochs": 24, "noise": 0.0, "depth": 2, "width": 256, "dropout": 0.0}
#: Each series changes one setting and leaves the others at the base.
SERIES: Settings = {
    "epochs": (1, 2, 3, 6, 12, 24),
    "noise": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    "depth": (1, 2, 3, 4, 5, 6),
    "width": (128, 181, 256, 362, 512, 1024),
    "dropout": (0.0, 0.15, 0.3, 0.45, 0.6, 0.75),
}
#: Networks of one setting, in one zoo.
REPLICAS = 2
MOMENTUM = 0.9
#: Images that are measured at a time, which changes no result.
EVALUATED_AT_ONCE = 2000
SAVED_EVERY = 100


def zoos(
    seeds: int | Iterable[int], *, base: Mapping[str, Value] = BASE, series: Settings = SERIES, **shared: Value
) -> Grid:
    """Return two zoos per seed: of true labels, and of random ones, which has no series of label noise."""
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    found = _zoo(chosen, "true", base, series, shared)
    others = {name: values for name, values in series.items() if name != "noise"}
    return found + _zoo(chosen, "random", {**base, "noise": 1.0}, others, shared)


def _zoo(
    seeds: tuple[int, ...], labels: str, base: Mapping[str, Value], series: Settings, shared: Mapping[str, Value]
) -> Grid:
    fixed: dict[str, Any] = {"part": "zoo", "labels": labels, "replica": range(REPLICAS), **shared}
    found = Grid(seeds=seeds, **{**fixed, **base, "series": "base"})
    for name, values in series.items():
        others = [value for value in values if value != base[name]]
        found += Grid(seeds=seeds, **{**fixed, **base, "series": name, name: others})
    return found


def network(n_inputs: int, n_classes: int, case: Case) -> nn.Sequential:
    """Return a perceptron of ``depth`` hidden layers of ``width`` rectified units, with dropout after each.

    It is initialised as torch does.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for layer in range(case.depth):
        layers += [nn.Linear(case.width if layer else n_inputs, case.width), nn.ReLU(), nn.Dropout(case.dropout)]
    return nn.Sequential(*layers, nn.Linear(case.width, n_classes))


def train(case: Case, run: TrialRun) -> dict[str, Any]:
    """Train one network of the zoo and measure it.

    All networks of a seed see the same images, and the same label noise as far as it goes; replicas differ in their
    initial weights and in the order of the images. Random labels are drawn anew for each network: were they shared, so
    would be the luck that makes one of them better than chance.

    Returns
    -------
    dict
        ``test_accuracy``, on all test images, with true labels; ``train_accuracy``, on the labels trained on;
        ``path``: steps × learning rate; and ``weight_metrics``.
    """
    labels = run.generator
    if case.labels == "random":
        labels = torch.Generator().manual_seed(derive_seed(run.seed, "labels", repr(case.key)))
    images = randomise(load(case.data), n_train=case.n_train, n_held_out=0, corruption=case.noise, generator=labels)
    seed = derive_seed(run.seed, "replica", case.replica)
    with seeded_generators(seed):
        model = network(images.train.inputs[0].numel(), images.n_classes, case)
    initial = [weight.clone() for weight in hidden_weights(model)]
    model.to(run.device)
    history = fit(
        model,
        images.train.epochs(case.batch_size, seed=seed),
        functional.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=case.learning_rate, momentum=MOMENTUM, fused=True),
        epochs=case.epochs,
        checkpoint=Checkpoint(run.checkpoint, every_epochs=SAVED_EVERY),
        seed=seed,
    )
    model.cpu()
    train_accuracy, test_accuracy = (
        evaluate(model, samples.batches(EVALUATED_AT_ONCE)).accuracy for samples in (images.train, images.test)
    )
    return {
        "test_accuracy": test_accuracy,
        "train_accuracy": train_accuracy,
        "path": len(history.loss) * case.learning_rate,
        **weight_metrics(model, initial),
    }
